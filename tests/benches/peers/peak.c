/* Runs a command, throws its output away, and prints the most memory (KiB) that one process of it had resident. What
 * starts a process lends it its own peak (the kernel keeps the larger one over exec), so this is a program as small as
 * they come. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>

extern char **environ;

int main(int argc, char **argv)
{
    posix_spawn_file_actions_t to_nowhere;
    struct rusage used;
    pid_t pid;
    int status;

    if (argc < 2 || posix_spawn_file_actions_init(&to_nowhere) != 0)
        return 2;
    posix_spawn_file_actions_addopen(&to_nowhere, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&to_nowhere, 2, "/dev/null", O_WRONLY, 0);
    if (posix_spawnp(&pid, argv[1], &to_nowhere, NULL, argv + 1, environ) != 0)
        return 2;
    if (wait4(pid, &status, 0, &used) != pid || !WIFEXITED(status))
        return 2;
    printf("%ld\n", used.ru_maxrss);
    return WEXITSTATUS(status);
}
