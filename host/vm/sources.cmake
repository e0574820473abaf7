# Virtual machines, what the host maps for ring 0, kicks and deadlines.
set(sources
    cancel.c
    cpu_names.c
    entry_page_x86_64.S
    kick.c
    regs_x86_64.c
    syspages_tables_x86_64.c
    syspages_x86_64.c
    vcpu_kvm.c
    vcpu_kvm_x86_64.c
    vm_kvm.c
    vm_kvm_caps.c
    vm_kvm_selftest_x86_64.c
    vm_kvm_x86_64.c
    wait_entry_x86_64.S
    wait_x86_64.c
    watchdog.c)
