/* SPDX-License-Identifier: MIT */
#include "rdelta.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

static const char usage[] =
	"Usage: rdelta [OPTIONS] signature [BASIS [SIGNATURE]]\n"
	"       rdelta [OPTIONS] delta SIGNATURE [NEWFILE [DELTA]]\n"
	"       rdelta [OPTIONS] patch BASIS [DELTA [NEWFILE]]\n"
	"\n"
	"A file that is not named or is - means standard input or output.\n"
	"\n"
	"  -f, --force             replace existing files\n"
	"  -s, --statistics        say what was done, on standard error\n"
	"  -v, --verbose           say what is done\n"
	"  -V, --version           show the version\n"
	"  -h, -?, --help          show this help\n"
	"Signatures:\n"
	"  -b, --block-size=BYTES  length of a block, 0 (default) by size\n"
	"  -S, --sum-size=BYTES    length of a strong sum, 0 (default) whole, -1 shortest\n"
	"  -H, --hash=ALG          strong sum: blake2 (default), md4\n"
	"  -R, --rollsum=ALG       weak sum: rabinkarp (default), rollsum\n";

struct command {
	const char *name;
	int least; /* files that must be named */
	const char *usage;
	void (*run)(const struct rdelta_options *options, char **args);
};

static const struct command commands[] = {
	{"signature", 0, "signature [BASIS [SIGNATURE]]", rdelta_signature},
	{"delta", 1, "delta SIGNATURE [NEWFILE [DELTA]]", rdelta_delta},
	{"patch", 1, "patch BASIS [DELTA [NEWFILE]]", rdelta_patch},
};

static void print_line(const char *format, va_list args)
{
	char text[1024], safe[4096];
	int len = vsnprintf(text, sizeof(text), format, args);
	if (len < 0)
		len = 0;
	if ((size_t)len >= sizeof(text))
		len = sizeof(text) - 1;
	fprintf(stderr, "rdelta: %s\n", thrum__escape(safe, sizeof(safe), text, (size_t)len));
}

void rdelta_fail(enum rdelta_exit code, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	print_line(format, args);
	va_end(args);
	exit(code);
}

void rdelta_note(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	print_line(format, args);
	va_end(args);
}

static long number(const char *option, const char *text, long least, long most)
{
	char *end;
	errno = 0;
	long value = strtol(text, &end, 10);
	if (end == text || *end != '\0')
		rdelta_fail(EXIT_USAGE, "%s: '%s' is no number; give one from %ld to %ld", option,
			text, least, most);
	if (errno != 0 || value < least || value > most)
		rdelta_fail(EXIT_PARAM, "%s: %s is out of range; give a number from %ld to %ld",
			option, text, least, most);
	return value;
}

/* True for first, false for second; anything else ends the program. */
static bool choice(const char *option, const char *text, const char *first, const char *second)
{
	if (strcmp(text, first) == 0)
		return true;
	if (strcmp(text, second) != 0)
		rdelta_fail(
			EXIT_USAGE, "%s: unknown '%s'; give %s or %s", option, text, first, second);
	return false;
}

_Noreturn static void help(void)
{
	fputs(usage, stdout);
	exit(EXIT_OK);
}

/* getopt has no other word for -? than for an option it does not know. */
_Noreturn static void bad_option(int why, const char *word)
{
	if (why == '?' && strcmp(word, "-?") == 0)
		help();
	if (why == ':')
		rdelta_fail(EXIT_USAGE, "%s needs a value; see rdelta --help", word);
	rdelta_fail(EXIT_USAGE, "unknown option %s; see rdelta --help", word);
}

/* Options may stand before, between and behind the words. Returns the index of the first word. */
static int parse_options(int argc, char **argv, struct rdelta_options *options)
{
	static const struct option table[] = {
		{"block-size", required_argument, NULL, 'b'},
		{"sum-size", required_argument, NULL, 'S'},
		{"hash", required_argument, NULL, 'H'},
		{"rollsum", required_argument, NULL, 'R'},
		{"statistics", no_argument, NULL, 's'},
		{"force", no_argument, NULL, 'f'},
		{"verbose", no_argument, NULL, 'v'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	bool blake2 = true, rabinkarp = true;
	int option;
	opterr = 0; /* our own messages */
	while ((option = getopt_long(argc, argv, ":b:S:H:R:sfvVh", table, NULL)) != -1) {
		switch (option) {
		case 'b':
			options->sign.block_len =
				(uint32_t)number("--block-size", optarg, 0, DELTA_BLOCK_MAX);
			break;
		case 'S':
			options->sign.strong_len =
				(int)number("--sum-size", optarg, -1, DELTA_STRONG_MAX);
			break;
		case 'H':
			blake2 = choice("--hash", optarg, "blake2", "md4");
			break;
		case 'R':
			rabinkarp = choice("--rollsum", optarg, "rabinkarp", "rollsum");
			break;
		case 's':
			options->statistics = true;
			break;
		case 'f':
			options->force = true;
			break;
		case 'v':
			options->verbose = true;
			break;
		case 'V':
			puts("rdelta " THRUM_VERSION);
			exit(EXIT_OK);
		case 'h':
			help();
		default:
			bad_option(option, argv[optind - 1]);
		}
	}
	if (rabinkarp)
		options->sign.magic = blake2 ? DELTA_MAGIC_RK_BLAKE2 : DELTA_MAGIC_RK_MD4;
	else
		options->sign.magic = blake2 ? DELTA_MAGIC_BLAKE2 : DELTA_MAGIC_MD4;
	return optind;
}

int main(int argc, char **argv)
{
	struct rdelta_options options = {0};
	int at = parse_options(argc, argv, &options);
	if (at == argc)
		rdelta_fail(EXIT_USAGE, "what to do is not said; give signature, delta or patch");
	for (size_t i = 0; i < thrum__countof(commands); i++) {
		const struct command *command = &commands[i];
		int files = argc - at - 1;
		if (strcmp(argv[at], command->name) != 0)
			continue;
		if (files < command->least || files > (command->least ? 3 : 2))
			rdelta_fail(EXIT_USAGE, "too %s files named; usage: rdelta [OPTIONS] %s",
				files < command->least ? "few" : "many", command->usage);
		/* argv ends with NULL: files that are not named are NULL. */
		char *args[3] = {0};
		memcpy(args, argv + at + 1, (size_t)files * sizeof(*args));
		command->run(&options, args);
		return EXIT_OK;
	}
	rdelta_fail(EXIT_USAGE, "unknown command '%s'; give signature, delta or patch", argv[at]);
}
