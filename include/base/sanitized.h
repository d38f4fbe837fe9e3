#ifndef DOTPROXY_SANITIZED_H
#define DOTPROXY_SANITIZED_H

/*
 * Whether this is a build for AddressSanitizer. It looks into its own process, which a
 * worker must not, and has a heap of its own.
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
