#ifndef DOTPROXY_STATUS_H
#define DOTPROXY_STATUS_H

#include "base/deadline.h"
#include "base/fail.h"
#include "config/config.h"

/*
 * The status socket, which tells `healthcheck' where the running supervisor listens, even if the
 * file has changed since. It is an abstract Unix socket (unix(7)) named after the PID namespace and
 * the absolute path of the configuration file, so nothing is left on disk, and containers that
 * share a network namespace have different ones.
 */

/*
 * Listens on the status socket of CONFIG_FILE, which need not exist. Returns a non-blocking
 * socket, which the caller closes; or -1 with the reason.
 */
int status_listen(const char *config_file, struct failure *why);

/*
 * Sends `listen' and `allow' of CONFIG to each process that has connected, if it runs as our user
 * or as root, and closes the connection. Reads nothing and never blocks. Accepts at most
 * STATUS_ANSWERS connections per call.
 */
enum { STATUS_ANSWERS = 64 };
void status_answer(int fd, const struct config *config);

/*
 * Asks the supervisor that runs with CONFIG_FILE in this PID namespace, until BY. Returns a
 * configuration of which only `listen' and `allow' are set, freed by config_free(); NULL when no
 * supervisor of our user or of root answers (if we are root, of any user).
 */
struct config *status_ask(const char *config_file, struct deadline by);

#endif
