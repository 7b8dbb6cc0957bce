/* SPDX-License-Identifier: MIT */
#include "replica/path.h"

#include <errno.h>

#include "base/base.h"

bool replica_name_valid(const char *name, size_t len)
{
	if (len == 0 || len > REPLICA_NAME_MAX)
		return false;
	if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')))
		return false;
	return memchr(name, '/', len) == NULL && memchr(name, '\0', len) == NULL;
}

int replica_path_check(const char *path, size_t len)
{
	static const char reserved[] = REPLICA_RESERVED;
	if (len > REPLICA_PATH_MAX)
		return -ENAMETOOLONG;
	const char *end = path + len;
	unsigned depth = 0;
	for (const char *at = path; len > 0;) {
		const char *slash = memchr(at, '/', (size_t)(end - at));
		size_t n = (size_t)((slash != NULL ? slash : end) - at);
		if (n > REPLICA_NAME_MAX || ++depth > REPLICA_DEPTH_MAX)
			return -ENAMETOOLONG;
		if (!replica_name_valid(at, n))
			return -EINVAL;
		if (depth == 1 && n == sizeof(reserved) - 1 && memcmp(at, reserved, n) == 0)
			return -EPERM;
		if (slash == NULL)
			break;
		at = slash + 1;
	}
	return 0;
}

size_t replica_path_next(const char **cursor, const char **name)
{
	const char *at = *cursor;
	if (*at == '/')
		at++;
	size_t len = strcspn(at, "/");
	*name = at;
	*cursor = at + len;
	return len;
}

unsigned replica_path_depth(const char *path)
{
	unsigned depth = *path != '\0';
	for (; *path != '\0'; path++)
		depth += *path == '/';
	return depth;
}

const char *replica_path_last(const char *path, size_t *parent_len)
{
	const char *slash = strrchr(path, '/');
	*parent_len = slash != NULL ? (size_t)(slash - path) : 0;
	return slash != NULL ? slash + 1 : path;
}

int replica_path_join(char *out, size_t cap, const char *dir, const char *name)
{
	size_t a = strlen(dir), b = strlen(name), total = a + (a > 0) + b;
	if (total >= cap || total > REPLICA_PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(out, dir, a);
	if (a > 0)
		out[a++] = '/';
	memcpy(out + a, name, b + 1);
	return (int)total;
}

bool replica_path_within(const char *path, const char *dir)
{
	size_t len = strlen(dir);
	return len == 0 ||
	       (strncmp(path, dir, len) == 0 && (path[len] == '\0' || path[len] == '/'));
}
