/* SPDX-License-Identifier: MIT */
#include <thrum/fs.h>

#include "io/io.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

struct thrum_dir {
	DIR *stream;
};

int thrum_dir_open(struct thrum_dir **out, int dirfd, const char *path)
{
	/*
	 * Of a link O_DIRECTORY | O_NOFOLLOW says ENOTDIR: ELOOP, which tells the two apart, costs
	 * a look.
	 */
	int fd = thrum_file_open(dirfd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	struct stat st;
	if (fd == -ENOTDIR && thrum_fs_lstat(dirfd, path, &st) == 0 && S_ISLNK(st.st_mode))
		return -ELOOP;
	if (fd < 0)
		return fd;
	struct thrum_dir *dir = malloc(sizeof(*dir));
	if (dir == NULL)
		goto close_fd;
	dir->stream = fdopendir(fd);
	if (dir->stream == NULL)
		goto free_dir;
	*out = dir;
	return 0;
free_dir:
	free(dir);
close_fd:
	thrum_file_close(fd);
	return -ENOMEM;
}

static bool is_dot(const char *name)
{
	return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* Not inlined, for thrum__last_error's reason. */
static THRUM__NOINLINE void clear_error(void)
{
	__asm__ volatile("");
	errno = 0;
}

int thrum_dir_next(struct thrum_dir *dir, struct thrum_dir_entry *out)
{
	for (;;) {
		clear_error();
		struct dirent *entry = readdir(dir->stream);
		if (entry == NULL)
			return thrum__last_error();
		if (is_dot(entry->d_name))
			continue;
		*out = (struct thrum_dir_entry){
			.name = entry->d_name,
			.inode = entry->d_ino,
			.type = entry->d_type,
		};
		return 1;
	}
}

int thrum_dir_fd(const struct thrum_dir *dir)
{
	return dirfd(dir->stream);
}

void thrum_dir_close(struct thrum_dir *dir)
{
	if (dir == NULL)
		return;
	closedir(dir->stream);
	free(dir);
}
