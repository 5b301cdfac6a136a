// SPDX-License-Identifier: Apache-2.0
// Catch2 v2 compiles itself where this is defined; v3 is a library and does not look at it.
#define CATCH_CONFIG_RUNNER
#include "support/catch.hpp"

int main(int argc, char** argv) {
  Catch::Session session;
  // A test that asserts nothing fails, and so does a name that selects no test: neither may look like success.
#if CATCH_VERSION_MAJOR == 2
  const int warnings = Catch::WarnAbout::NoAssertions | Catch::WarnAbout::NoTests;
#else
  const int warnings = Catch::WarnAbout::NoAssertions | Catch::WarnAbout::UnmatchedTestSpec;
#endif
  session.configData().warnings = static_cast<Catch::WarnAbout::What>(warnings);
  return session.run(argc, argv);
}
