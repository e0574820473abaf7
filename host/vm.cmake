list(APPEND HUSK_HOST_SOURCES vm_kvm.c vm_kvm_caps.c vm_kvm_selftest.c vm_kvm_x86_64.c syspages.c syspages_tables.c
  entry_page_x86_64.S)
