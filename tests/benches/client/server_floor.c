/* The floor of a daemon: one thread, one caller after the other; reads once and answers with a file's bytes.
 * usage: server_floor SOCKET FILE */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;
    if (argc != 3 || strlen(argv[1]) >= sizeof address.sun_path) return 2;
    strcpy(address.sun_path, argv[1]);
    signal(SIGPIPE, SIG_IGN);
    int file = open(argv[2], O_RDONLY);
    if (file < 0 || fstat(file, &status)) return 3;
    size_t size = (size_t)status.st_size;
    char *answer = malloc(size);
    for (size_t have = 0; have < size;) {
        ssize_t count = read(file, answer + have, size - have);
        if (count <= 0) return 4;
        have += (size_t)count;
    }
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) return 5;
    for (;;) {
        char request[65536];
        int caller = accept(listener, 0, 0);
        if (caller < 0) continue;
        if (read(caller, request, sizeof request) > 0)
            for (size_t sent = 0; sent < size;) {
                ssize_t count = write(caller, answer + sent, size - sent);
                if (count <= 0) break;
                sent += (size_t)count;
            }
        close(caller);
    }
}
