// SPDX-License-Identifier: Apache-2.0
// Keys and lists of clients from the environment and from files; what is malformed is named, and no key shown.
#include "support/catch.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <zmq.h>

#include <registry/config.hpp>
#include <registry/transport/zmq_curve.hpp>

#include "config/variables.hpp"

using namespace registry;
using namespace config_test;

namespace {

const std::string hub_key = "DYN_REGISTRY_HUB_CURVE_SECRET_KEY";
const std::string hub_list = "DYN_REGISTRY_HUB_CURVE_ALLOWED_CLIENTS_FILE";
const std::string client_key = "DYN_REGISTRY_CLIENT_CURVE_SECRET_KEY";
const std::string server_key = "DYN_REGISTRY_CLIENT_CURVE_SERVER_KEY";

class Directory {
 public:
  Directory() {
    std::string name = (std::filesystem::temp_directory_path() / "registry-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() { std::filesystem::remove_all(path_); }

  std::string path(const std::string& name) const { return path_ / name; }

  std::string write(const std::string& name, std::string_view content) const {
    std::ofstream(path(name), std::ios::binary) << content;
    return path(name);
  }

 private:
  std::filesystem::path path_;
};

/// A secret as its owner knows it: the library gives the text to nobody.
struct Secret {
  CurveSecretKey key = CurveSecretKey::random();
  std::string text = [this] {
    std::string made(40, ' ');
    zmq_z85_encode(made.data(), reinterpret_cast<const std::uint8_t*>(key.bytes().data()), key.bytes().size());
    return made;
  }();
};

bool same(const CurveSecretKey& one, const CurveSecretKey& two) { return as_text(one.bytes()) == as_text(two.bytes()); }

/// The ConfigError of `call`, whose text must hold none of these.
template <class Call>
ConfigError refusal(Call call, const std::vector<std::string>& secrets) {
  const auto error = error_of(call);
  REQUIRE(error);
  REQUIRE(error->template as<ConfigError>() != nullptr);
  for (const std::string& secret : secrets) CHECK(std::string{error->what()}.find(secret) == std::string::npos);
  return *error->template as<ConfigError>();
}

}  // namespace

TEST_CASE("without variables there are no keys, and none are required") {
  const Variables variables;
  CHECK_FALSE(HubConfig::from_env().transport.curve);
  CHECK_FALSE(HubConfig::from_env().transport.require_security);
  CHECK_FALSE(ClientConfig::from_env().transport.curve);
}

TEST_CASE("a hub's key comes from its variable or a file, its clients from a file") {
  Variables variables;
  const Directory files;
  const Secret hub;
  const Secret ann;
  const Secret bob;
  const Secret eve;
  variables.set(
      hub_list,
      files.write("clients", "# who may come\n\n" + ann.key.public_key().z85() + "\n" + bob.key.public_key().z85() +
                                 " \t models,images \r\n" + eve.key.public_key().z85() + " *"));
  const std::string behind = GENERATE("in a variable", "", "\n", " \r\n\n");
  if (behind == "in a variable") {
    variables.set(hub_key, hub.text);
  } else {
    variables.set(hub_key + "_FILE", files.write("key", hub.text + behind));
  }
  const auto curve = HubConfig::from_env().transport.curve;
  REQUIRE(curve);
  CHECK(same(curve->secret_key, hub.key));
  REQUIRE(curve->allowed_clients.size() == 3);
  const CurveAllowedClient& first = curve->allowed_clients[0];
  CHECK(first.key == ann.key.public_key());
  CHECK(first.may_use("default"));
  CHECK_FALSE(first.may_use("models"));
  const CurveAllowedClient& second = curve->allowed_clients[1];
  CHECK(second.key == bob.key.public_key());
  CHECK(second.namespaces == std::vector<std::string>{"models", "images"});
  CHECK(second.may_use("models"));
  CHECK(second.may_use("images"));
  CHECK_FALSE(second.may_use("default"));
  CHECK_FALSE(second.may_use("*"));
  const CurveAllowedClient& third = curve->allowed_clients[2];
  CHECK(third.may_use("default"));
  CHECK(third.may_use("anything"));
}

TEST_CASE("a client's keys come from variables or files") {
  Variables variables;
  const Directory files;
  const Secret hub;
  const Secret own;
  const bool in_files = GENERATE(false, true);
  const std::string public_text = hub.key.public_key().z85();
  if (in_files) {
    variables.set(server_key + "_FILE", files.write("server", public_text + "\n"));
    variables.set(client_key + "_FILE", files.write("own", own.text + "\n"));
  } else {
    variables.set(server_key, public_text);
    variables.set(client_key, own.text);
  }
  const auto curve = ClientConfig::from_env().transport.curve;
  REQUIRE(curve);
  CHECK(curve->server_key == hub.key.public_key());
  CHECK(same(curve->secret_key, own.key));
}

TEST_CASE("DYN_REGISTRY_HUB_SECURITY is required or optional") {
  Variables variables;
  variables.set("DYN_REGISTRY_HUB_SECURITY", "required");
  CHECK(HubConfig::from_env().transport.require_security);
  variables.set("DYN_REGISTRY_HUB_SECURITY", "optional");
  CHECK_FALSE(HubConfig::from_env().transport.require_security);
  for (const std::string wrong : {"", "yes", "Required"}) {
    variables.set("DYN_REGISTRY_HUB_SECURITY", wrong);
    const ConfigError error = refusal([] { HubConfig::from_env(); }, {});
    CHECK(error.variable == "DYN_REGISTRY_HUB_SECURITY");
    CHECK(error.value == wrong);
    CHECK(error.expected == "required or optional");
  }
}

TEST_CASE("a key in a variable that is none is refused and not shown") {
  Variables variables;
  const Secret secret;
  const auto check = [&](const std::string& variable, auto read, const std::string& wrong) {
    INFO(variable << " of " << wrong.size() << " bytes");
    variables.set(variable, wrong);
    const ConfigError error = refusal(read, {secret.text.substr(0, 20), secret.text.substr(20)});
    CHECK(error.variable == variable);
    CHECK(error.value == "(not shown)");
    CHECK(error.expected == "a CURVE key of 40 characters in Z85");
  };
  std::string foreign = secret.text;
  foreign[10] = '"';
  for (const std::string& wrong :
       {std::string{}, secret.text.substr(1), secret.text + secret.text[0], secret.text + "\n", " " + secret.text,
        foreign, std::string(40, '#'), std::string(40, '\xe4')}) {
    check(hub_key, [] { CurveServer::from_env(); }, wrong);
  }
  unsetenv(hub_key.c_str());
  check(server_key, [] { CurveClient::from_env(); }, secret.text.substr(5));
  unsetenv(server_key.c_str());
  check(client_key, [] { CurveClient::from_env(); }, secret.text.substr(5));
}

TEST_CASE("a file that holds no key is refused, with its name and line and without what it holds") {
  Variables variables;
  const Directory files;
  const Secret secret;
  const std::string variable = hub_key + "_FILE";
  const auto check = [&](const std::string& path, const std::string& expected) {
    variables.set(variable, path);
    const ConfigError error =
        refusal([] { CurveServer::from_env(); }, {secret.text.substr(0, 20), secret.text.substr(20)});
    CHECK(error.variable == variable);
    CHECK(error.value == path);
    CHECK(error.expected == expected);
  };
  const std::string no_key = "a CURVE key of 40 characters in Z85 in line 1, and nothing else";
  check(files.write("empty", ""), no_key);
  check(files.write("short", secret.text.substr(1)), no_key);
  check(files.write("two", secret.text + "\n" + secret.text + "\n"), no_key);
  check(files.write("second", "\n" + secret.text), no_key);
  check(files.write("large", std::string(10'000, 'x') + secret.text), no_key);
  check(files.path("missing"), "a file to read (No such file or directory)");
  check(files.path(""), "a file to read (Is a directory)");
  // A key in the place of a file's name is a mistake that must not end in a log.
  for (const std::string& mistake : {secret.text, secret.text + "\n", "'" + secret.text + "' "}) {
    variables.set(variable, mistake);
    const ConfigError error = refusal([] { CurveServer::from_env(); }, {secret.text});
    CHECK(error.value == "(not shown)");
  }
}

TEST_CASE("a list of clients that is malformed is refused, with its name and line") {
  Variables variables;
  const Directory files;
  const Secret hub;
  const Secret secret;
  const std::string ann = Secret{}.key.public_key().z85();
  const std::string bob = Secret{}.key.public_key().z85();
  variables.set(hub_key, hub.text);
  // At the end: the rest of a key may begin with a #, as no key does.
  const auto shortened = [](const std::string& of) { return of.substr(0, of.size() - 1); };
  const auto check = [&](const std::string& content, const std::string& expected) {
    INFO(content);
    const std::string path = files.write("clients", content);
    variables.set(hub_list, path);
    const ConfigError error = refusal([] { CurveServer::from_env(); }, {hub.text, shortened(secret.text), ann, bob});
    CHECK(error.variable == hub_list);
    CHECK(error.value == path);
    CHECK(error.expected == expected);
  };
  const std::string key = "a CURVE key of 40 characters in Z85";
  const std::string names = "namespaces of 1 to 255 bytes with a comma between two of them, or * for all, in line ";
  check("", "at least one line with " + key);
  check("# nobody\n\n#" + ann, "at least one line with " + key);
  check(shortened(secret.text), key + " in line 1");
  check("# two\n" + ann + "\n\n" + shortened(bob) + " a", key + " in line 4");
  check(ann + ",models", key + " in line 1");
  check(" " + ann, key + " in line 1");
  check("//nobody", key + " in line 1");
  check(ann + "\n" + bob + "\n" + ann + " models", "a key that no line before it has in line 3");
  for (const std::string wrong : {"a,", ",a", "a,,b", "a, b", "a b", "a,*", "*,a"})
    check(ann + " " + wrong, names + "1");
  check(bob + "\n" + ann + " " + std::string(256, 'n'), names + "2");
  variables.set(hub_list, files.path("missing"));
  CHECK(refusal([] { CurveServer::from_env(); }, {hub.text}).expected == "a file to read (No such file or directory)");
  variables.set(hub_list, secret.text);
  CHECK(refusal([] { CurveServer::from_env(); }, {secret.text}).value == "(not shown)");
}

TEST_CASE("of settings that belong together none may be missing, and none be there twice") {
  Variables variables;
  const Directory files;
  const Secret secret;
  const std::string path = files.write("file", secret.text);
  const auto check =
      [&](auto read, const std::string& variable, const std::string& value, const std::string& expected) {
        const ConfigError error = refusal(read, {secret.text});
        CHECK(error.variable == variable);
        CHECK(error.value == value);
        CHECK(error.expected == expected);
      };
  const auto hub = [] { HubConfig::from_env(); };
  const auto client = [] { ClientConfig::from_env(); };
  SECTION("a hub's key without clients") {
    variables.set(hub_key, secret.text);
    check(hub, hub_list, "", "a value, because " + hub_key + " has one");
  }
  SECTION("clients without a hub's key") {
    variables.set(hub_list, path);
    check(hub, hub_key, "", "a value, because " + hub_list + " has one");
  }
  SECTION("a client's key without the hub's") {
    variables.set(client_key, secret.text);
    check(client, server_key, "", "a value, because " + client_key + " has one");
  }
  SECTION("the hub's key without the client's") {
    variables.set(server_key, secret.key.public_key().z85());
    check(client, client_key, "", "a value, because " + server_key + " has one");
  }
  SECTION("a key as itself and in a file") {
    variables.set(hub_key, secret.text);
    variables.set(hub_key + "_FILE", path);
    check(hub, hub_key + "_FILE", path, "not to be set beside " + hub_key);
  }
}

TEST_CASE("a new key is saved where only its owner can read it, and read again") {
  Variables variables;
  const Directory files;
  const Secret secret;
  const std::string path = files.path("new");
  secret.key.save(path);
  struct stat status{};
  REQUIRE(stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 07777U) == 0600);
  CHECK(same(detail::read_curve_key<CurveSecretKey>("key", path), secret.key));
  // Never over another one, which would lock everyone out.
  const auto error = error_of([&] { CurveSecretKey::random().save(path); });
  REQUIRE(error);
  REQUIRE(error->as<TransportError>() != nullptr);
  CHECK(std::string{error->what()}.find(path + "\": File exists") != std::string::npos);
  CHECK(same(detail::read_curve_key<CurveSecretKey>("key", path), secret.key));
  CHECK(error_of([&] { secret.key.save(files.path("no/such/place")); }));
}

TEST_CASE("keys are 32 bytes or 40 characters") {
  const Secret secret;
  const CurvePublicKey key = secret.key.public_key();
  CHECK(CurvePublicKey::from_z85(key.z85()) == key);
  CHECK(CurvePublicKey::from_bytes(key.bytes()) == key);
  CHECK_FALSE(CurvePublicKey::from_bytes(key.bytes().subspan(1)));
  CHECK_FALSE(CurvePublicKey::from_z85(""));
  CHECK_FALSE(CurvePublicKey::from_z85(key.z85().substr(5)));
  CHECK_FALSE(CurvePublicKey::from_z85(std::string(39, '0') + '\0'));
  CHECK(same(*CurveSecretKey::from_z85(secret.text), secret.key));
  CHECK_FALSE(same(CurveSecretKey::random(), CurveSecretKey::random()));
  CHECK(CurveSecretKey::random().public_key() != CurveSecretKey::random().public_key());
}
