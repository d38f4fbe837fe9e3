#ifndef DOTPROXY_HOSTNAME_H
#define DOTPROXY_HOSTNAME_H

enum { HOSTNAME_MAX = 253 };

/*
 * What keeps TEXT from being a host name that a certificate can be checked against,
 * in words that continue "`TEXT' "; NULL: nothing does. OpenSSL takes ".example" for
 * every host below it, "example." for none and "" for any: none of them passes.
 */
const char *hostname_problem(const char *text);

#endif
