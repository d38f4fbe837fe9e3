/* Prints a line for each name: its addresses, or why there are none. */

#include <sys/socket.h>

#include <netdb.h>
#include <stdio.h>

int
main(int argc, char **argv)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	struct addrinfo *found, *a;
	char text[64];
	int error;
	int i;

	for (i = 1; i < argc; i++) {
		if ((error = getaddrinfo(argv[i], NULL, &hints, &found)) != 0) {
			(void)puts(gai_strerror(error));
			continue;
		}
		for (a = found; a != NULL; a = a->ai_next) {
			(void)getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, NULL, 0,
			    NI_NUMERICHOST);
			(void)printf("%s%s", text, a->ai_next != NULL ? " " : "\n");
		}
		freeaddrinfo(found);
	}
	return 0;
}
