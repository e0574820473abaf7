/*
 * compiler/worker/sanitized.h: is this built with AddressSanitizer or ThreadSanitizer? gcc and
 * clang tell it in different ways.
 */
#ifndef COMPILER_SANITIZED_H
#define COMPILER_SANITIZED_H

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#define IS_SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define IS_SANITIZED 0
#endif

#endif
