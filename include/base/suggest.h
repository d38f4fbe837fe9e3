#ifndef DOTPROXY_SUGGEST_H
#define DOTPROXY_SUGGEST_H

#include <stdbool.h>

/* Whether TYPED is probably a misspelling of WORD: one or two typing errors, or another case. */
bool suggest_is_near(const char *typed, const char *word);

#endif
