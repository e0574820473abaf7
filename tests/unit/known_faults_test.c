/* The table of bad kernels, and how versions are read: husk doctor (cli/known_faults.c). */
#include "known_faults.h"

#include <string.h>

#include "harness.h"

static unsigned faults_of(unsigned major, unsigned minor, unsigned patch, char *text) {
    return kernel_faults_of((struct version){major, minor, patch}, text, 1024);
}

TEST(a_fix_ends_a_fault) {
    char text[1024];
    CHECK_EQ_U64(faults_of(6, 12, 46, text), 2);
    CHECK_CONTAINS(text, "CVE-2025-40300 (fixed in 6.12.47): ");
    CHECK_CONTAINS(text, "; CVE-2026-53359 (fixed in 6.12.95): ");
    CHECK_EQ_U64(faults_of(6, 12, 47, text), 1);
    CHECK(strstr(text, "CVE-2025-40300") == NULL);
    CHECK_EQ_U64(faults_of(6, 12, 95, text), 0);
    CHECK_STR(text, "");
}

TEST(each_series_has_its_own_fix) {
    char text[1024];
    CHECK_EQ_U64(faults_of(5, 10, 259, text), 1);
    CHECK_EQ_U64(faults_of(5, 10, 260, text), 0);
    CHECK_EQ_U64(faults_of(6, 18, 37, text), 1);
    CHECK_EQ_U64(faults_of(6, 18, 38, text), 0);
    CHECK_EQ_U64(faults_of(7, 1, 3, text), 1);
    CHECK_CONTAINS(text, "CVE-2026-64561 (fixed in 7.1.6): ");
    CHECK_EQ_U64(faults_of(7, 1, 6, text), 0);
}

TEST(unknown_series_are_not_judged) {
    char text[1024];
    CHECK_EQ_U64(faults_of(6, 14, 0, text), 0);
    CHECK_EQ_U64(faults_of(7, 9, 0, text), 0);
}

TEST(a_short_text_is_cut) {
    char text[16];
    CHECK_EQ_U64(kernel_faults_of((struct version){6, 12, 1}, text, sizeof text), 2);
    CHECK_STR(text, "CVE-2025-40300 ");
}

static void check_version(const char *release, const char *build, unsigned patch) {
    struct version version = {0};
    CHECK(kernel_version(release, build, &version));
    CHECK_EQ_U64(version.major, 6);
    CHECK_EQ_U64(version.patch, patch);
}

TEST(versions) {
    struct version version;
    check_version("6.18.44-fc-v669", "#1 SMP", 44);
    check_version("6.12.0", "#1 SMP", 0);
    check_version("6.1.0-43-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.159-1 (2025-12-30)", 159);
    CHECK(!kernel_version("6.8.0-101-generic", "#101-Ubuntu SMP", &version));
    CHECK(!kernel_version("6.1.0-43-amd64", "#1 SMP Debian rules", &version));
    CHECK(!kernel_version("6.18", "#1 SMP", &version));
    CHECK(!kernel_version("", "", &version));
}

TEST(llvm_versions) {
    CHECK(llvm_is_tested("husk 0.1.0 LLVM 19.1.7"));
    CHECK(llvm_is_tested("husk 0.1.0 LLVM 22.1.8"));
    CHECK(!llvm_is_tested("husk 0.1.0 LLVM 18.1.8"));
    CHECK(!llvm_is_tested("husk 0.1.0 LLVM 23.1.0"));
    CHECK(!llvm_is_tested("husk 0.1.0"));
}

TEST_MAIN()
