#ifndef DOTPROXY_HOSTNAME_H
#define DOTPROXY_HOSTNAME_H

enum { HOSTNAME_MAX = 253 };

/*
 * Why TEXT cannot be checked against a certificate, as the end of a sentence that begins with
 * "`TEXT' "; NULL when it can. Refuses names that OpenSSL treats specially: ".example" (matches
 * every host below), "example." (matches none), "" (matches any).
 */
const char *hostname_problem(const char *text);

#endif
