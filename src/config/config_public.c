#include "config/config.h"

#include <string.h>

#include "config_schema.h"

/*
 * Domains that are on the Internet as a whole: if a route had one of these in cleartext, it would not
 * be about names of somebody's own any more. Country codes, and the generic top-level domains with the
 * most names; of the others, those that exist are too many and change too often to be listed here.
 */

static const char country_codes[] =
    "acadaeafagaialamaoaqarasatauawaxazbabbbdbebfbgbhbibjbmbnbobrbsbtbwbybzcacccdcfcgchcickclcmcncocr"
    "cucvcwcxcyczdedjdkdmdodzeceeegereseteufifjfkfmfofrgagbgdgegfggghgiglgmgngpgqgrgsgtgugwgyhkhmhnhr"
    "hthuidieiliminioiqirisitjejmjojpkekgkhkikmknkpkrkwkykzlalblclilklrlsltlulvlymamcmdmemgmhmkmlmmmn"
    "mompmqmrmsmtmumvmwmxmymznancnenfngninlnonpnrnunzompapepfpgphpkplpmpnprpsptpwpyqarerorsrurwsasbsc"
    "sdsesgshsiskslsmsnsosrssstsusvsxsysztctdtftgthtjtktltmtntotrtttvtwtzuaugukusuyuzvavcvevgvivnvuwf"
    "wsyeytzazmzw";

static const char *const generic[] = { "academy", "aero", "agency", "ai", "app", "art", "asia",
	"bar", "berlin", "best", "beauty", "bet", "bid", "bio", "biz", "blog", "bond", "buzz",
	"cam", "cat", "center", "cfd", "city", "click", "cloud", "club", "co", "com", "community",
	"company", "coop", "cyou", "date", "design", "dev", "digital", "edu", "email", "energy",
	"eu", "events", "expert", "faith", "family", "finance", "fit", "foundation", "fun", "fyi",
	"games", "global", "gmbh", "goog", "google", "gov", "group", "guru", "health", "help",
	"host", "house", "icu", "info", "ink", "int", "international", "io", "jobs", "land",
	"legal", "life", "limited", "link", "live", "loan", "lol", "london", "ltd", "market",
	"marketing", "me", "media", "men", "mil", "mobi", "moe", "monster", "museum", "name", "net",
	"network", "news", "ninja", "nyc", "one", "online", "org", "ovh", "page", "party",
	"photography", "post", "pro", "pub", "quest", "review", "rocks", "run", "sale", "sbs",
	"school", "science", "services", "shop", "site", "social", "software", "solutions", "space",
	"store", "stream", "studio", "support", "systems", "team", "tech", "technology", "tel",
	"tickets", "today", "tokyo", "tools", "top", "trade", "travel", "tv", "us", "ventures",
	"video", "vip", "wang", "webcam", "website", "wiki", "win", "work", "works", "world", "xxx",
	"xyz", "zip", "zone" };

static bool
is_country_code(const char *label)
{
	const char *p;

	for (p = country_codes; *p != '\0'; p += 2)
		if (p[0] == label[0] && p[1] == label[1])
			return true;
	return false;
}

static bool
is_public_label(const char *label, size_t len)
{
	size_t i;

	if ((len == 2 && is_country_code(label)) || (len > 4 && memcmp(label, "xn--", 4) == 0))
		return true;
	for (i = 0; i < sizeof generic / sizeof generic[0]; i++)
		if (strlen(generic[i]) == len && memcmp(generic[i], label, len) == 0)
			return true;
	return false;
}

static bool
is_public(const struct config_domain *d)
{
	static const char *const trees[] = { "", "\4arpa", "\7in-addr\4arpa", "\3ip6\4arpa" };
	char label[DNS_NAME_MAX];
	size_t i;

	for (i = 0; i < sizeof trees / sizeof trees[0]; i++)
		if (d->len == strlen(trees[i]) + 1 && memcmp(d->name, trees[i], d->len) == 0)
			return true;
	/* One label, between its length and the root. */
	if (d->len != (size_t)d->name[0] + 2)
		return false;
	memcpy(label, d->name + 1, d->name[0]);
	return is_public_label(label, d->name[0]);
}

const struct config_domain *
config_find_public(const struct config_domain *d, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++)
		if (is_public(&d[i]))
			return &d[i];
	return NULL;
}
