#ifndef DOTPROXY_SANITIZED_H
#define DOTPROXY_SANITIZED_H

/*
 * Whether this build uses AddressSanitizer, which inspects its own process, as a worker must not,
 * and replaces the heap.
 */
#if defined(__SANITIZE_ADDRESS__)
enum { SANITIZED = 1 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif
#else
enum { SANITIZED = 0 };
#endif

#endif
