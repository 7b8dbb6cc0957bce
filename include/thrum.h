/* SPDX-License-Identifier: MIT */
#ifndef THRUM_H
#define THRUM_H

/* All of thrum: green threads, what they wait for, and the I/O they do. See thrum(7). */

#include <thrum/error.h>
#include <thrum/time.h>
#include <thrum/thread.h>
#include <thrum/stack.h>

#include <thrum/mutex.h>
#include <thrum/cond.h>
#include <thrum/semaphore.h>
#include <thrum/waitgroup.h>
#include <thrum/channel.h>
#include <thrum/future.h>

#include <thrum/dns.h>
#include <thrum/fs.h>
#include <thrum/net.h>
#include <thrum/poll.h>

#endif
