#ifndef DOTPROXY_HOSTNAME_H
#define DOTPROXY_HOSTNAME_H

enum { HOSTNAME_MAX = 253 };

/*
 * Why TEXT cannot be checked against a certificate, in words that continue "`TEXT' "; NULL when it
 * can. Refuses names that OpenSSL would match in its own way: ".example" (every host below),
 * "example." (none), "" (any).
 */
const char *hostname_problem(const char *text);

#endif
