# The warnings every target of ours is built with.
add_compile_options(-Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla)
if(HUSK_WERROR)
  add_compile_options(-Werror)
endif()
