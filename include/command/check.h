#ifndef DOTPROXY_CHECK_H
#define DOTPROXY_CHECK_H

#include "config/config.h"

/*
 * Checks what a start would check on this machine and config_load() cannot: the user, CA files and
 * CRLs, the sandbox, and listen addresses that no interface has. Messages name the file NAME. The
 * caller frees the report with config_report_free(). If there are no errors, only binding the ports
 * can still fail.
 */
void check_environment(const struct config *, const char *name, struct config_report *);

#endif
