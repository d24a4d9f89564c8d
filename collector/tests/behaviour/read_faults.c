/* Runs a program whose reads of chosen files fail or hang, however it makes the system calls.
 *
 * read_faults CONTROL PROGRAM ARGUMENTS...
 *
 * While the file CONTROL is there and says "eio PART OFFSET", reads at OFFSET or beyond of files whose path contains PART fail with
 * EIO; with "hang PART OFFSET" they do not return. preadv2 with RWF_NOWAIT never hangs: it gets EAGAIN. A seccomp filter hands every
 * read to a supervisor, so that this works for static programs, too; io_uring passes by it. Exit code 77: not possible here. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOT_POSSIBLE 77
#define PENDING_MAX 4096
#define NOWAIT 8

struct fault {
    char mode[16];
    char part[512];
    long long offset;
};

static int read_control(const char *path, struct fault *fault) {
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    int fields = fscanf(file, "%15s %511s %lld", fault->mode, fault->part, &fault->offset);
    fclose(file);
    return fields == 3;
}

static long long offset_of(const struct seccomp_notif *call) {
    if (call->data.nr != SYS_read && call->data.nr != SYS_readv) return (long long)call->data.args[3];
    char path[64], line[128];
    long long position = 0;
    snprintf(path, sizeof path, "/proc/%u/fdinfo/%d", call->pid, (int)call->data.args[0]);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    if (fgets(line, sizeof line, file)) sscanf(line, "pos: %lld", &position);
    fclose(file);
    return position;
}

static int is_chosen(const struct seccomp_notif *call, const struct fault *fault) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/%u/fd/%d", call->pid, (int)call->data.args[0]);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len < 0) return 0;
    path[len] = 0;
    return path[0] == '/' && strstr(path, fault->part) && offset_of(call) >= fault->offset;
}

/* Whether the call has its answer now. */
static int answer(int listener, const struct seccomp_notif *call, const char *control) {
    struct fault fault;
    struct seccomp_notif_resp response = {.id = call->id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};
    if (read_control(control, &fault) && is_chosen(call, &fault)) {
        response.flags = 0;
        if (!strcmp(fault.mode, "eio")) response.error = -EIO;
        else if (call->data.nr == SYS_preadv2 && (call->data.args[5] & NOWAIT)) response.error = -EAGAIN;
        else return 0;
    }
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
    return 1;
}

static void supervise(int listener, const char *control) {
    static struct seccomp_notif pending[PENDING_MAX];
    size_t count = 0;
    for (;;) {
        struct pollfd ready = {.fd = listener, .events = POLLIN};
        poll(&ready, 1, count ? 20 : -1);
        if (ready.revents & POLLIN) {
            struct seccomp_notif call;
            memset(&call, 0, sizeof call);
            if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &call) == 0 && !answer(listener, &call, control) && count < PENDING_MAX)
                pending[count++] = call;
        } else if (ready.revents) {
            return;
        }
        for (size_t i = 0; i < count;) {
            if (ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &pending[i].id) != 0 || answer(listener, &pending[i], control))
                pending[i] = pending[--count];
            else
                i++;
        }
    }
}

static int install(void) {
#if defined(__x86_64__)
    const unsigned arch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
    const unsigned arch = AUDIT_ARCH_AARCH64;
#else
    exit(NOT_POSSIBLE);
#endif
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, arch, 0, 6),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pread64, 5, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 4, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_readv, 3, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_preadv, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_preadv2, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
}

static void transfer(int socket, int *fd, int sending) {
    char byte = 0, space[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec part = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    if (!sending) {
        if (recvmsg(socket, &message, 0) != 1 || !CMSG_FIRSTHDR(&message)) _exit(1);
        memcpy(fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof *fd);
        return;
    }
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof *fd);
    memcpy(CMSG_DATA(head), fd, sizeof *fd);
    if (sendmsg(socket, &message, 0) != 1) exit(NOT_POSSIBLE);
}

int main(int count, char **arguments) {
    int sockets[2], listener;
    if (count < 3 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0) return NOT_POSSIBLE;
    pid_t between = fork();
    if (between == 0) {
        /* The supervisor is nobody's child, so that the program finds none that it did not make. */
        if (fork() != 0) _exit(0);
        setsid();
        close(sockets[0]);
        transfer(sockets[1], &listener, 0);
        supervise(listener, arguments[1]);
        _exit(0);
    }
    close(sockets[1]);
    waitpid(between, NULL, 0);
    listener = install();
    if (listener < 0) return NOT_POSSIBLE;
    transfer(sockets[0], &listener, 1);
    close(listener);
    execvp(arguments[2], arguments + 2);
    return 127;
}
