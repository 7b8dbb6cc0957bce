/* SPDX-License-Identifier: MIT */
#ifndef THRUM_GRPC_METADATA_H
#define THRUM_GRPC_METADATA_H

#include <stddef.h>

/*
 * One piece of request or response metadata. Names are lower case: a-z 0-9 _ - and dot. The value
 * of a name that ends in "-bin" may hold any bytes (it travels as base64); others hold printable
 * ASCII.
 */
struct grpc_metadata {
	const char *name;
	const void *value;
	size_t len;
};

#endif
