// SPDX-License-Identifier: Apache-2.0
#include <registry/registry.hpp>

#include <iostream>

int main() { std::cout << "registry " << REGISTRY_VERSION << '\n'; }
