# SPDX-License-Identifier: Apache-2.0
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

# share, not lib: headers are the same for every architecture.
set(registry_package_dir "${CMAKE_INSTALL_DATADIR}/cmake/registry")

install(TARGETS registry EXPORT registry-targets FILE_SET HEADERS DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(EXPORT registry-targets NAMESPACE registry:: DESTINATION "${registry_package_dir}")

write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/registry-config-version.cmake"
  COMPATIBILITY SameMinorVersion
  ARCH_INDEPENDENT
)
install(
  FILES
    "${CMAKE_CURRENT_SOURCE_DIR}/cmake/registry-config.cmake"
    "${CMAKE_CURRENT_SOURCE_DIR}/cmake/Findasio.cmake"
    "${CMAKE_CURRENT_BINARY_DIR}/registry-config-version.cmake"
  DESTINATION "${registry_package_dir}"
)
