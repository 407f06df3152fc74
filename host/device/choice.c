/* Choices by measurement: kept in memory for a context's life, and in the cache's file after it. */
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "device/opencl.h"

/* Unlike a program's, the key has no source in it: a choice that kernels have outgrown is slower,
 * not wrong. */
static bool make_key(const crn_context *context, const char *text, crn__cache_key *key)
{
    const crn_device_info *info = &context->info;
    const char *const texts[] = {"choice",   crn_version(), info->platform, info->vendor,
                                 info->name, info->driver,  info->version,  text};
    return crn__cache_key_make(texts, sizeof texts / sizeof *texts, key);
}

static crn__choice *find(crn_context *context, const crn__cache_key *key)
{
    for (size_t i = 0; i < context->n_choices; i++)
        if (memcmp(&context->choices[i].key, key, sizeof *key) == 0)
            return &context->choices[i];
    return NULL;
}

/* NULL when there is no memory. */
static crn__choice *add(crn_context *context, const crn__cache_key *key)
{
    if (!crn__grow((void **)&context->choices, context->n_choices, &context->choices_capacity,
                   sizeof *context->choices))
        return NULL;
    crn__choice *choice = &context->choices[context->n_choices++];
    *choice = (crn__choice){.key = *key};
    return choice;
}

const char *crn__context_choice(crn_context *context, const char *text)
{
    crn__cache_key key;
    if (!make_key(context, text, &key))
        return "";
    crn__choice *choice = find(context, &key);
    if (choice == NULL && (choice = add(context, &key)) != NULL)
        crn__cache_load_choice(context->cache, &key, choice->value, sizeof choice->value);
    return choice != NULL ? choice->value : "";
}

void crn__context_choose(crn_context *context, const char *text, const char *value)
{
    crn__cache_key key;
    if (!make_key(context, text, &key))
        return;
    crn__choice *choice = find(context, &key);
    if (choice == NULL)
        choice = add(context, &key);
    if (choice != NULL)
        strncpy(choice->value, value, sizeof choice->value - 1);
    crn__cache_store_choice(context->cache, &key, value);
}
