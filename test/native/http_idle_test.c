// Connections are used again, dropped when nobody used them for a while, and checked before they
// are used: a server that closed its end meanwhile is no trouble.
#include <arpa/inet.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "scene.h"
#include "wire/http.h"

constexpr uint64_t MS = 1'000'000, IDLE_NS = 1500 * MS;

// Answers everything on every connection. `hangs_up`: it closes after each answer without a word.
struct server {
  int listener;
  uint16_t port;
  pthread_t thread;
  _Atomic int accepted, open, answers;
  _Atomic bool hangs_up, stops;
};

static void serve_one(struct server *server, struct pollfd *client) {
  static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
  char request[4096];
  ssize_t got = recv(client->fd, request, sizeof request, 0);
  if (got > 0) {  // one of these requests fits a packet
    CHECK(send(client->fd, answer, sizeof answer - 1, MSG_NOSIGNAL) == sizeof answer - 1);
    atomic_fetch_add(&server->answers, 1);
    if (!atomic_load(&server->hangs_up)) return;
  }
  close(client->fd);
  client->fd = -1;
  atomic_fetch_sub(&server->open, 1);
}

static void *serve(void *argument) {
  struct server *server = argument;
  struct pollfd clients[16] = {{.fd = server->listener, .events = POLLIN}};
  nfds_t count = 1;
  while (!atomic_load(&server->stops)) {
    if (poll(clients, count, 10) <= 0) continue;
    for (nfds_t i = 1; i < count; i++)
      if (clients[i].fd >= 0 && clients[i].revents) serve_one(server, &clients[i]);
    if (!clients[0].revents) continue;
    CHECK(count < 16);
    clients[count++] =
        (struct pollfd){.fd = accept(server->listener, nullptr, nullptr), .events = POLLIN};
    atomic_fetch_add(&server->accepted, 1);
    atomic_fetch_add(&server->open, 1);
  }
  for (nfds_t i = 0; i < count; i++)
    if (clients[i].fd >= 0) close(clients[i].fd);
  return nullptr;
}

static void server_begin(struct server *server) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(bind(server->listener, (struct sockaddr *)&address, size) == 0);
  CHECK(listen(server->listener, 16) == 0);
  CHECK(getsockname(server->listener, (struct sockaddr *)&address, &size) == 0);
  server->port = ntohs(address.sin_port);
  CHECK(pthread_create(&server->thread, nullptr, serve, server) == 0);
}

static void server_end(struct server *server) {
  atomic_store(&server->stops, true);
  pthread_join(server->thread, nullptr);
}

static void ask(struct runtime *runtime, struct task *task, uint16_t port) {
  char url[64];
  snprintf(url, sizeof url, "http://127.0.0.1:%u/x", port);
  struct http_request request = {
      .url = span_of(url), .size = COPSE_UNKNOWN, .timeout_ms = 30'000, .retries = 0};
  struct fault fault = {};
  struct http_answer answer;
  uint8_t body[16];
  struct exchange *exchange = http_send(runtime, &request, &fault);
  CHECK(exchange);
  CHECK(http_answer(exchange, task, &answer, &fault) == 0);
  CHECK(answer.status == 200);
  CHECK(http_read(exchange, task, body, sizeof body, &fault) == 2);
  CHECK(http_read(exchange, task, body, sizeof body, &fault) == 0);
  http_drop(exchange);
}

static void nap(void) { nanosleep(&(struct timespec){.tv_nsec = 5'000'000}, nullptr); }

static void body(struct act *act, struct worker *) {
  struct server server = {};
  struct runtime *runtime = act->with;
  server_begin(&server);
  int threads = count_threads();
  // Used again; on a machine that is slow enough to be idle in between, not.
  uint64_t begin = clock_now();
  ask(runtime, act->task, server.port);
  ask(runtime, act->task, server.port);
  uint64_t last = clock_now();
  CHECK(server.accepted == 1 || last - begin >= IDLE_NS);
  // Dropped, not before its time, and the thread with it.
  while (server.open > 0) nap();
  CHECK(clock_now() - begin >= IDLE_NS);
  while (count_threads() > threads) nap();
  ask(runtime, act->task, server.port);
  CHECK(server.accepted >= 2);
  // Closed by the server while nobody looked: seen before the next request is lost on it.
  atomic_store(&server.hangs_up, true);
  for (int i = 0; i < 5; i++) {
    ask(runtime, act->task, server.port);
    while (server.open > 0) nap();
  }
  CHECK(server.answers == 8);
  server_end(&server);
}

int main(void) {
  struct runtime *runtime = open_runtime((span){});
  CHECK(runtime->connection_idle_ns == 90 * UINT64_C(1'000'000'000));
  runtime->connection_idle_ns = IDLE_NS;
  struct task *task = start_task(runtime, RECORD({COPSE_KEY_WAITED, 1}), body, runtime);
  CHECK(wait_done(task, nullptr, nullptr).code == 0);
  task_close(task);
  runtime_close(runtime);
}
