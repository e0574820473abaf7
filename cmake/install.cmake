# What `cmake --install` puts where: headers, libraries, the command and its worker, pkg-config and CMake packages, man pages,
# documents, examples.
# (The worker installs itself, in compiler/CMakeLists.txt.)
include(CMakePackageConfigHelpers)

# A static library as one object whose internal symbols are local: libhusk's own names cannot clash with its embedder's. husk_merge(NAME
# OUTPUT library…): NAME.a from the objects of the libraries. What both libraries have of the public interface (husk_base's
# part of it) is weak, so that a program can link both.
function(husk_merge name)
  set(archives "")
  foreach(lib ${ARGN})
    list(APPEND archives $<TARGET_FILE:${lib}>)
  endforeach()
  set(object ${CMAKE_BINARY_DIR}/install/${name}.o)
  set(archive ${CMAKE_BINARY_DIR}/install/${name}.a)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/install)
  add_custom_command(OUTPUT ${archive} DEPENDS ${ARGN} VERBATIM
    COMMAND ${CMAKE_LINKER} -r --whole-archive ${archives} -o ${object}
    COMMAND ${CMAKE_OBJCOPY} --localize-hidden --weaken-symbol=husk_status_name --weaken-symbol=husk_status_text
            --weaken-symbol=husk_name_escape ${object}
    COMMAND ${CMAKE_COMMAND} -E rm -f ${archive}
    COMMAND ${CMAKE_AR} rcs ${archive} ${object})
  add_custom_target(install_${name} ALL DEPENDS ${archive})
  install(FILES ${archive} DESTINATION ${CMAKE_INSTALL_LIBDIR})
endfunction()

file(GLOB husk_headers CONFIGURE_DEPENDS include/husk*.h)
list(FILTER husk_headers EXCLUDE REGEX husk_compile)
install(FILES ${husk_headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
husk_merge(libhusk husk_static husk_base)
install(TARGETS husk_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES include/husk_compile.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
husk_merge(libhusk_compile husk_compile husk_wasm husk_base)
install(TARGETS husk_compile_shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
# Each of these is built where what it needs is there. Whatever starts the worker learns where it is: the prefix is known only now.
set(husk_programs "")
set(husk_starters ${CMAKE_INSTALL_LIBDIR}/libhusk_compile.a ${CMAKE_INSTALL_LIBDIR}/libhusk_compile.so.${PROJECT_VERSION})
foreach(program husk_cli husk_serve husk-oci husk_cli_static)
  if(TARGET ${program})
    set(folder ${CMAKE_INSTALL_BINDIR})
    if(program STREQUAL husk_cli_static) # for containers, not for a PATH
      set(folder ${CMAKE_INSTALL_LIBEXECDIR}/husk)
    endif()
    install(TARGETS ${program} RUNTIME DESTINATION ${folder})
    get_target_property(name ${program} OUTPUT_NAME)
    if(NOT name)
      set(name ${program})
    endif()
    list(APPEND husk_starters ${folder}/${name})
    list(APPEND husk_programs ${program})
  endif()
endforeach()
install(CODE "
  get_filename_component(prefix \"\${CMAKE_INSTALL_PREFIX}\" ABSOLUTE)
  get_filename_component(folder \"${CMAKE_INSTALL_LIBEXECDIR}/husk\" ABSOLUTE BASE_DIR \"\${prefix}\")
  set(files \"\")
  foreach(file ${husk_starters})
    get_filename_component(file \"\${file}\" ABSOLUTE BASE_DIR \"\${prefix}\")
    list(APPEND files \"\$ENV{DESTDIR}\${file}\")
  endforeach()
  execute_process(COMMAND \"${CMAKE_SOURCE_DIR}/tools/set-worker-folder\" \"\${folder}\" \${files} RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR \"the installed files do not know where husk-compile-worker is\")
  endif()")
if(TARGET husk_serve)
  # systemd looks below /usr/local and /usr there, whatever CMAKE_INSTALL_LIBDIR is.
  install(FILES packaging/systemd/husk-serve@.service packaging/systemd/husk-serve@.socket DESTINATION lib/systemd/system)
endif()
foreach(section 1 3 8)
  file(GLOB husk_man_pages CONFIGURE_DEPENDS docs/man/*.${section})
  if(husk_man_pages)
    install(FILES ${husk_man_pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man${section})
  endif()
endforeach()
# packaging/completion/PROGRAM.list → what shells complete for it.
file(GLOB husk_completion_tables CONFIGURE_DEPENDS packaging/completion/*.list)
set(husk_completions "")
foreach(table ${husk_completion_tables})
  get_filename_component(program ${table} NAME_WE)
  foreach(place bash:bash-completion/completions/${program} zsh:zsh/site-functions/_${program}
                fish:fish/vendor_completions.d/${program}.fish)
    string(REGEX MATCH "^[a-z]+" shell ${place})
    string(REGEX REPLACE "^[a-z]+:" "" place ${place})
    set(completion ${CMAKE_BINARY_DIR}/install/completion/${place})
    get_filename_component(folder ${completion} DIRECTORY)
    file(MAKE_DIRECTORY ${folder})
    add_custom_command(OUTPUT ${completion} DEPENDS ${table} tools/make-completions VERBATIM
      COMMAND tools/make-completions ${shell} ${table} ${completion} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    list(APPEND husk_completions ${completion})
    string(REGEX REPLACE "/[^/]*$" "" folder ${place})
    install(FILES ${completion} DESTINATION ${CMAKE_INSTALL_DATADIR}/${folder})
  endforeach()
endforeach()
add_custom_target(install_completions ALL DEPENDS ${husk_completions})
# As they lie in the source tree, so that their links to each other and to the examples hold.
install(FILES README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md LICENSE NOTICE DESTINATION ${CMAKE_INSTALL_DOCDIR})
file(GLOB husk_documents CONFIGURE_DEPENDS docs/*.md docs/*.svg)
install(FILES ${husk_documents} DESTINATION ${CMAKE_INSTALL_DOCDIR}/docs)
if(EXISTS ${CMAKE_SOURCE_DIR}/deploy)
  install(DIRECTORY deploy DESTINATION ${CMAKE_INSTALL_DOCDIR})
endif()
file(GLOB husk_examples CONFIGURE_DEPENDS examples/*.[ch] examples/*.sh examples/Makefile)
install(FILES ${husk_examples} DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
foreach(language go python rust)
  file(GLOB husk_language CONFIGURE_DEPENDS examples/${language}/*.*)
  install(FILES ${husk_language} DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples/${language})
endforeach()
file(GLOB husk_guests CONFIGURE_DEPENDS examples/guests/*)
install(FILES ${husk_guests} DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples/guests)

# Relative to the .pc file, so that an installation can be moved.
file(RELATIVE_PATH husk_pc_up /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" husk_pc_up "${husk_pc_up}")
foreach(name husk husk-compile)
  configure_file(cmake/${name}.pc.in ${CMAKE_BINARY_DIR}/install/${name}.pc @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/install/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endforeach()

set(husk_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Husk)
configure_package_config_file(cmake/HuskConfig.cmake.in ${CMAKE_BINARY_DIR}/install/HuskConfig.cmake
  INSTALL_DESTINATION ${husk_package_dir} PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/install/HuskConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/install/HuskConfig.cmake ${CMAKE_BINARY_DIR}/install/HuskConfigVersion.cmake
  DESTINATION ${husk_package_dir})

# All that is installed, and no test, example or measurement: for tools/build-packages.
add_custom_target(what_is_installed DEPENDS install_libhusk install_libhusk_compile install_completions husk_shared husk_compile_shared ${husk_programs})
