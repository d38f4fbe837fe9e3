#ifndef DOTPROXY_CHECK_H
#define DOTPROXY_CHECK_H

#include "config/config.h"

/*
 * Checks what a start with this configuration would refuse on this machine and config_load()
 * cannot know: the user, CA files and revocation lists, the sandbox, addresses that no interface
 * has. Messages name the file NAME. The caller frees the report with config_report_free(). Without
 * errors, only binding the ports can still fail.
 */
void check_environment(const struct config *, const char *name, struct config_report *);

#endif
