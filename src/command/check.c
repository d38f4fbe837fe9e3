#include "command/check.h"

#include <unistd.h>

#include "base/fail.h"
#include "config/diagnostic.h"
#include "process/listeners.h"
#include "process/privilege.h"
#include "query/names.h"
#include "transport/dot.h"

static void
add(struct diagnostics *to, const struct config_place *place, const struct failure *why)
{
	if (why->remedy[0] == '\0')
		diagnostic_add(to, place->line, place->column, "%s", why->text);
	else
		diagnostic_add(to, place->line, place->column, "%s (%s)", why->text, why->remedy);
}

/*
 * An address that no interface has is only a warning if another address exists, because it is
 * served once an interface has it. The address of -l is skipped: it is not in the file.
 */
static void
check_listeners(const struct config *config, struct diagnostics *errors,
    struct diagnostics *warnings)
{
	struct diagnostics *to = errors;
	struct failure why;
	size_t i;

	for (i = 0; i < config->listen_count; i++)
		if (listeners_check_address(&config->listen[i], NULL) == 0)
			to = warnings;
	for (i = 0; i < config->listen_count; i++)
		if (config->listen[i].place.line != 0 &&
		    listeners_check_address(&config->listen[i], &why) == -1)
			add(to, &config->listen[i].place, &why);
}

/* Whether an earlier upstream has the same files. */
static bool
is_checked(const struct config *config, size_t index)
{
	size_t i;

	for (i = 0; i < index; i++)
		if (config_same_trust(&config->upstreams[i], &config->upstreams[index]))
			return true;
	return false;
}

static bool
can_load(const char *ca_file, const char *crl_file, struct failure *why)
{
	struct dot_trust *trust = dot_trust_new(ca_file, crl_file, why);

	dot_trust_free(trust);
	return trust != NULL;
}

static void
check_trust(const struct config *config, struct diagnostics *errors)
{
	const struct config_upstream *u;
	struct failure why;
	size_t i;

	for (i = 0; i < config->upstream_count; i++) {
		u = &config->upstreams[i];
		if (u->cleartext || is_checked(config, i))
			continue;
		if (!can_load(u->ca_file, NULL, &why))
			add(errors, &u->ca_place, &why);
		else if (u->crl_file != NULL && !can_load(u->ca_file, u->crl_file, &why))
			add(errors, &u->crl_place, &why);
	}
}

static void
check_hosts_file(const struct config *config, struct diagnostics *errors)
{
	struct names *names;
	struct failure why;

	if (config->hosts_file == NULL)
		return;
	if ((names = names_new(config, &why)) == NULL)
		add(errors, &config->hosts_place, &why);
	names_free(names);
}

/* `check' may run as another user than the service, so a missing privilege is only a warning. */
static void
check_user(const struct config *config, struct diagnostics *errors, struct diagnostics *warnings)
{
	struct privilege p;
	struct failure why;

	if (config->user == NULL)
		return;
	if (privilege_find_user(config->user, &p, &why) == -1)
		add(errors, &config->user_place, &why);
	else if (p.uid == 0)
		diagnostic_add(warnings, config->user_place.line, config->user_place.column,
		    "user %s: workers run as root (leave `user' out, or name an unprivileged "
		    "user)",
		    config->user);
	else if (privilege_plan(config->user, CONFIG_SANDBOX_OFF, &p, &why) == -1)
		add(warnings, &config->user_place, &why);
}

static void
check_sandbox(const struct config *config, struct diagnostics *errors)
{
	struct privilege p;
	struct failure why;

	if (privilege_plan(NULL, config->sandbox, &p, &why) == -1)
		add(errors, &config->sandbox_place, &why);
}

void
check_environment(const struct config *config, const char *name, struct config_report *report)
{
	struct diagnostics errors = { 0 };
	struct diagnostics warnings = { 0 };

	check_listeners(config, &errors, &warnings);
	check_trust(config, &errors);
	check_hosts_file(config, &errors);
	check_user(config, &errors, &warnings);
	check_sandbox(config, &errors);
	*report = (struct config_report){
		.errors = diagnostic_text(&errors, name),
		.error_count = errors.count,
		.warnings = diagnostic_text(&warnings, name),
	};
	diagnostic_clear(&errors);
	diagnostic_clear(&warnings);
}
