#ifndef DOTPROXY_SUGGEST_H
#define DOTPROXY_SUGGEST_H

#include <stdbool.h>

/* Whether somebody who wrote TYPED may well have meant WORD: a typing error or two, or another case. */
bool suggest_is_near(const char *typed, const char *word);

#endif
