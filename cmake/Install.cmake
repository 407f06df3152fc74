# The library with its headers, the program, and what pkg-config and find_package need.

# So that the installed program finds the installed library wherever the prefix is.
file(RELATIVE_PATH bin_to_lib ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
if(TARGET clarinet_cli)
  set_target_properties(clarinet_cli PROPERTIES INSTALL_RPATH "$ORIGIN/${bin_to_lib}")
  install(TARGETS clarinet_cli)
endif()

install(TARGETS clarinet EXPORT clarinetTargets)
install(DIRECTORY include/ TYPE INCLUDE FILES_MATCHING PATTERN "*.h")

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/clarinet)
install(EXPORT clarinetTargets NAMESPACE clarinet:: FILE clarinetConfig.cmake
        DESTINATION ${package_dir})
# Before 1.0 a minor version may change what a program sees.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/clarinetConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/clarinetConfigVersion.cmake DESTINATION ${package_dir})

file(RELATIVE_PATH pc_to_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(cmake/clarinet.pc.in clarinet.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/clarinet.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
