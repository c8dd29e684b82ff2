/* The floor of a client: connects to a Unix socket, sends a file's bytes, reads to the end, prints what follows the
 * first empty line. No check, no parser, no runtime but the C library's. usage: client_floor SOCKET FILE */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv) {
    static char request[65536];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (argc != 3 || strlen(argv[1]) >= sizeof address.sun_path) return 2;
    strcpy(address.sun_path, argv[1]);
    int file = open(argv[2], O_RDONLY);
    ssize_t size = read(file, request, sizeof request);
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (size < 0 || connect(server, (struct sockaddr *)&address, sizeof address)) return 3;
    if (write(server, request, (size_t)size) != size) return 4;
    size_t room = 65536, have = 0;
    char *answer = malloc(room);
    for (;;) {
        if (have == room) answer = realloc(answer, room *= 4);
        ssize_t count = read(server, answer + have, room - have);
        if (count < 0) return 5;
        if (count == 0) break;
        have += (size_t)count;
    }
    char *body = memmem(answer, have, "\r\n\r\n", 4);
    if (!body) return 6;
    body += 4;
    for (size_t left = have - (size_t)(body - answer); left > 0;) {
        ssize_t count = write(1, body, left);
        if (count <= 0) return 7;
        body += count;
        left -= (size_t)count;
    }
    return 0;
}
