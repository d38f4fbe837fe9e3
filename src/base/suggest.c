#include "base/suggest.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

enum { WORD_MAX = 32 };

static size_t
least(size_t a, size_t b)
{
	return a < b ? a : b;
}

static bool
same(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/*
 * The edit distance from A to B: insertions, deletions, substitutions and swaps of neighbours
 * (optimal string alignment). Neither is longer than WORD_MAX.
 */
static size_t
distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	/* cost[i][j]: from the first i letters of A to the first j of B. */
	size_t cost[WORD_MAX + 1][WORD_MAX + 1];
	size_t i;
	size_t j;

	for (i = 0; i <= a_len; i++) {
		for (j = 0; j <= b_len; j++) {
			if (i == 0 || j == 0) {
				cost[i][j] = i + j;
				continue;
			}
			cost[i][j] = least(cost[i - 1][j - 1] + !same(a[i - 1], b[j - 1]),
			    least(cost[i - 1][j], cost[i][j - 1]) + 1);
			if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]))
				cost[i][j] = least(cost[i][j], cost[i - 2][j - 2] + 1);
		}
	}
	return cost[a_len][b_len];
}

bool
suggest_is_near(const char *typed, const char *word)
{
	size_t typed_len = strlen(typed);
	size_t word_len = strlen(word);

	if (typed_len > WORD_MAX || word_len > WORD_MAX)
		return false;
	return distance(typed, typed_len, word, word_len) <= (word_len + 1) / 4;
}
