# tests/python/binding_test.sh: the binding's own tests, as bindings/python/tests has them.
. "${HUSK_SOURCE:-.}/tests/python/binding.sh"
need_kvm
need_binding
pytest "the binding" "$HUSK_SOURCE/bindings/python/tests"
finish
