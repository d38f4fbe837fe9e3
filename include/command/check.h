#ifndef DOTPROXY_CHECK_H
#define DOTPROXY_CHECK_H

#include "config/config.h"

/*
 * Looks for what a start with this configuration would refuse on this machine, and what
 * config_load() cannot see: the user, CA and revocation lists, the sandbox, addresses that no
 * interface has. NAME stands for the file in messages. The caller frees the report with
 * config_report_free(); without errors the start would come as far as binding the ports.
 */
void check_environment(const struct config *, const char *name, struct config_report *);

#endif
