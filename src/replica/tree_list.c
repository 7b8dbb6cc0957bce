/* SPDX-License-Identifier: MIT */
#include "replica/tree.h"

#include <errno.h>

#include "replica/tree_internal.h"

static void child_fini(struct replica_child *child)
{
	free(child->name);
	replica_version_fini(&child->version);
	replica_vt_fini(&child->m);
	replica_vt_fini(&child->c);
	replica_vt_fini(&child->s);
}

void replica_listing_fini(struct replica_listing *listing)
{
	for (size_t i = 0; i < listing->count; i++)
		child_fini(&listing->children[i]);
	free(listing->children);
	free(listing->only);
	replica_vt_fini(&listing->m);
	replica_vt_fini(&listing->s);
	*listing = (struct replica_listing){0};
}

struct list_job {
	struct replica_listing *out;
	const char *only;
	size_t cap;
};

static int list_row(void *arg, const struct replica_entry *entry)
{
	struct list_job *job = arg;
	struct replica_listing *out = job->out;
	if (job->only != NULL && strcmp(entry->name, job->only) != 0)
		return 0;
	if (out->count == job->cap) {
		size_t cap = job->cap ? job->cap * 2 : 16;
		struct replica_child *children = realloc(out->children, cap * sizeof(*children));
		if (children == NULL)
			return -ENOMEM;
		out->children = children;
		job->cap = cap;
	}
	struct replica_child *child = &out->children[out->count++];
	*child = (struct replica_child){.kind = entry->kind, .name = strdup(entry->name)};
	int rc = child->name != NULL ? 0 : -ENOMEM;
	if (rc == 0 && entry->kind == REPLICA_LEAF)
		rc = replica_version_copy(&child->version, &entry->version);
	if (rc == 0)
		rc = replica_vt_copy(&child->m, &entry->m);
	if (rc == 0)
		rc = replica_vt_copy(&child->s, &entry->s);
	if (rc == 0)
		rc = replica_vt_copy(&child->c, &entry->c);
	return rc;
}

/* The rows of one name. */
static int list_only(struct replica_tree *tree, struct tree_node *dir, struct list_job *job)
{
	struct replica_entry row = {0};
	struct tree_node *container;
	size_t len = strlen(job->only);
	int rc = len <= REPLICA_NAME_MAX ? tree_child(tree, dir, job->only, len, &container)
					 : -ENOENT;
	if (rc == 0) {
		row = (struct replica_entry){.kind = REPLICA_CONTAINER,
			.name = container->name,
			.m = container->m,
			.s = container->s};
		rc = list_row(job, &row); /* borrowed: nothing to free */
		row = (struct replica_entry){0};
	}
	if (rc == 0 || rc == -ENOENT)
		rc = replica_index_entry_get(tree->index, dir->id, job->only, REPLICA_LEAF, &row);
	if (rc == 0)
		rc = list_row(job, &row);
	replica_entry_fini(&row);
	return rc == -ENOENT ? 0 : rc;
}

int replica_tree_list(
	struct replica_tree *tree, const char *dir, const char *only, struct replica_listing *out)
{
	struct tree_node *node;
	struct list_job job = {.out = out, .only = only};
	*out = (struct replica_listing){0};
	int rc = tree_find_dir(tree, dir, &node, &out->exists);
	if (rc == 0 && only != NULL && (out->only = strdup(only)) == NULL)
		rc = -ENOMEM;
	if (rc == 0)
		rc = replica_vt_copy(&out->m, &node->m);
	if (rc == 0)
		rc = tree_effective(tree, node, &out->s);
	if (rc == 0 && out->exists) {
		out->mtime_ns = node->mtime_ns;
		rc = only != NULL ? list_only(tree, node, &job)
				  : tree_each_row(tree, node, list_row, &job);
	}
	if (rc < 0)
		replica_listing_fini(out);
	return rc;
}

int replica_listing_absent(const struct replica_listing *parent, struct replica_listing *out)
{
	*out = (struct replica_listing){0};
	int rc = replica_vt_copy(&out->m, &parent->m);
	if (rc == 0)
		rc = replica_vt_copy(&out->s, &parent->s);
	if (rc < 0)
		replica_listing_fini(out);
	return rc;
}

static int child_check(const struct replica_child *child, bool root)
{
	static const struct replica_version none;
	size_t len = child->name != NULL ? strlen(child->name) : 0;
	bool marker = len == 1 && child->name[0] == '.';
	if (marker ? root || child->kind != REPLICA_LEAF : !replica_name_valid(child->name, len))
		return THRUM_EFORMAT;
	if (root && strcmp(child->name, REPLICA_RESERVED) == 0)
		return THRUM_EFORMAT;
	if (child->kind == REPLICA_CONTAINER)
		return replica_version_equal(&child->version, &none) ? 0 : THRUM_EFORMAT;
	if (child->kind != REPLICA_LEAF)
		return THRUM_EFORMAT;
	enum replica_state state = child->version.state;
	if (state != REPLICA_ABSENT && state != REPLICA_IGNORED) {
		if ((state == REPLICA_DIRMARK) != marker)
			return THRUM_EFORMAT;
		if (child->m.count != 1 || child->c.count == 0)
			return THRUM_EFORMAT;
	}
	return replica_version_check(&child->version);
}

/* The order of rows: by name bytes, the container first. */
static int child_cmp(const struct replica_child *a, const struct replica_child *b)
{
	int cmp = strcmp(a->name, b->name);
	return cmp != 0 ? cmp : (int)a->kind - (int)b->kind;
}

int replica_listing_check(const struct replica_listing *listing, bool root)
{
	if (!listing->exists && listing->count > 0)
		return THRUM_EFORMAT;
	for (size_t i = 0; i < listing->count; i++) {
		const struct replica_child *child = &listing->children[i];
		if (child_check(child, root) < 0 || (i > 0 && child_cmp(child - 1, child) >= 0))
			return THRUM_EFORMAT;
		if (listing->only != NULL && strcmp(child->name, listing->only) != 0)
			return THRUM_EFORMAT;
	}
	return 0;
}
