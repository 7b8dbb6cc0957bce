/* SPDX-License-Identifier: MIT */
#include "mutants.h"

#include "replica/tree.c"

enum tree_mutant replica_tree_mutant;
