#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/memory.h"
#include "device/opencl.h"

/* Of cl_khr_icd, whose header is not needed for anything else. */
#define PLATFORM_NOT_FOUND (-1001)

static crn_status fail_none(crn_error *error)
{
    return crn__fail(error, CRN_NO_DEVICE,
                     "no OpenCL device was found: install a driver, for example the package "
                     "pocl-opencl-icd (Debian, Ubuntu) for the CPU, or the GPU vendor's driver");
}

/* ---- asking a device ---- */

/* A string of any length; *out is ended by free(). */
static cl_int device_string(cl_device_id id, cl_device_info what, char **out)
{
    size_t size = 0;
    cl_int code = clGetDeviceInfo(id, what, 0, NULL, &size);
    if (code != CL_SUCCESS)
        return code;
    char *text = crn__alloc(size + 1, 1);
    if (text == NULL)
        return CL_OUT_OF_HOST_MEMORY;
    code = clGetDeviceInfo(id, what, size, text, NULL);
    if (code != CL_SUCCESS) {
        free(text);
        return code;
    }
    *out = text;
    return CL_SUCCESS;
}

/* Copies what fits, without the blanks that some drivers put at either end. */
static void copy_trimmed(char out[CRN_DEVICE_TEXT], const char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    snprintf(out, CRN_DEVICE_TEXT, "%s", text);
    size_t length = strlen(out);
    while (length > 0 && isspace((unsigned char)out[length - 1]))
        out[--length] = '\0';
}

static cl_int device_text(cl_device_id id, cl_device_info what, char out[CRN_DEVICE_TEXT])
{
    char *text;
    cl_int code = device_string(id, what, &text);
    if (code == CL_SUCCESS) {
        copy_trimmed(out, text);
        free(text);
    }
    return code;
}

static bool has_word(const char *words, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = words; (at = strstr(at, word)) != NULL; at += length)
        if ((at == words || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
            return true;
    return false;
}

static cl_int ask_extensions(cl_device_id id, crn_device_info *info)
{
    char *words;
    cl_int code = device_string(id, CL_DEVICE_EXTENSIONS, &words);
    if (code == CL_SUCCESS) {
        info->fp16 = has_word(words, "cl_khr_fp16");
        info->fp64 = has_word(words, "cl_khr_fp64");
        free(words);
    }
    return code;
}

static crn_device_type type_of(cl_device_type type)
{
    return type & CL_DEVICE_TYPE_GPU           ? CRN_DEVICE_GPU
           : type & CL_DEVICE_TYPE_ACCELERATOR ? CRN_DEVICE_ACCELERATOR
           : type & CL_DEVICE_TYPE_CPU         ? CRN_DEVICE_CPU
                                               : CRN_DEVICE_OTHER;
}

/* device->platform and id are set; fills the rest but for info.index and info.is_default. */
static cl_int ask_device(crn__device *device)
{
    crn_device_info *info = &device->info;
    cl_device_type type;
    cl_ulong global, allocation, local, cache;
    cl_uint units, width;
    size_t group;
    cl_bool available, compiler;
    cl_int code;
#define ASK(what, value) clGetDeviceInfo(device->id, what, sizeof(value), &(value), NULL)
    if ((code = device_text(device->id, CL_DEVICE_NAME, info->name)) != CL_SUCCESS ||
        (code = device_text(device->id, CL_DEVICE_VENDOR, info->vendor)) != CL_SUCCESS ||
        (code = device_text(device->id, CL_DRIVER_VERSION, info->driver)) != CL_SUCCESS ||
        (code = device_text(device->id, CL_DEVICE_VERSION, info->version)) != CL_SUCCESS ||
        (code = ask_extensions(device->id, info)) != CL_SUCCESS ||
        (code = ASK(CL_DEVICE_TYPE, type)) != CL_SUCCESS ||
        (code = ASK(CL_DEVICE_GLOBAL_MEM_SIZE, global)) != CL_SUCCESS ||
        (code = ASK(CL_DEVICE_GLOBAL_MEM_CACHE_SIZE, cache)) != CL_SUCCESS ||
        (code = ASK(CL_DEVICE_MAX_MEM_ALLOC_SIZE, allocation)) != CL_SUCCESS ||
        (code = ASK(CL_DEVICE_LOCAL_MEM_SIZE, local)) != CL_SUCCESS ||
        (code = ASK(CL_DEVICE_MAX_COMPUTE_UNITS, units)) != CL_SUCCESS ||
        (code = ASK(CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, width)) != CL_SUCCESS ||
        (code = ASK(CL_DEVICE_MAX_WORK_GROUP_SIZE, group)) != CL_SUCCESS ||
        (code = ASK(CL_DEVICE_AVAILABLE, available)) != CL_SUCCESS ||
        (code = ASK(CL_DEVICE_COMPILER_AVAILABLE, compiler)) != CL_SUCCESS)
        return code;
#undef ASK
    info->type = type_of(type);
    info->global_memory = global;
    info->max_allocation = allocation;
    info->cache_memory = cache;
    info->local_memory = local;
    info->compute_units = units;
    info->vector_width = width;
    info->max_work_group = group;
    device->usable = available == CL_TRUE && compiler == CL_TRUE;
    return CL_SUCCESS;
}

/* ---- finding all ---- */

typedef struct device_list {
    crn__device *items;
    size_t count, capacity;
    cl_int code; /* the first failure: a broken driver must not hide the others' devices */
} device_list;

static cl_int add_device(device_list *list, cl_platform_id platform, cl_device_id id,
                         const char *platform_name)
{
    if (!crn__grow((void **)&list->items, list->count, &list->capacity, sizeof *list->items))
        return CL_OUT_OF_HOST_MEMORY;
    crn__device *device = &list->items[list->count];
    memset(device, 0, sizeof *device);
    device->platform = platform;
    device->id = id;
    copy_trimmed(device->info.platform, platform_name);
    device->info.index = (int32_t)list->count;
    cl_int code = ask_device(device);
    if (code == CL_SUCCESS)
        list->count++;
    return code;
}

static void note(device_list *list, cl_int code)
{
    if (code != CL_SUCCESS && (list->code == CL_SUCCESS || code == CL_OUT_OF_HOST_MEMORY))
        list->code = code;
}

static void add_platform(device_list *list, cl_platform_id platform)
{
    char name[1024] = "";
    cl_uint count = 0;
    cl_int code = clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof name - 1, name, NULL);
    if (code == CL_SUCCESS)
        code = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, NULL, &count);
    if (code == CL_DEVICE_NOT_FOUND || (code == CL_SUCCESS && count == 0))
        return;
    if (code != CL_SUCCESS) {
        note(list, code);
        return;
    }
    cl_device_id *ids = crn__alloc(count, sizeof(cl_device_id));
    if (ids == NULL) {
        note(list, CL_OUT_OF_HOST_MEMORY);
        return;
    }
    code = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, count, ids, NULL);
    note(list, code);
    for (cl_uint i = 0; code == CL_SUCCESS && i < count; i++)
        note(list, add_device(list, platform, ids[i], name));
    free(ids);
}

crn_status crn__devices_find(crn__device **devices, size_t *count, crn_error *error)
{
    cl_uint n = 0;
    cl_int code = clGetPlatformIDs(0, NULL, &n);
    if (code == PLATFORM_NOT_FOUND || (code == CL_SUCCESS && n == 0))
        return fail_none(error);
    if (code != CL_SUCCESS)
        return crn__fail(error, crn__cl_status(code), "clGetPlatformIDs: %s (%d)",
                         crn__cl_name(code), code);
    cl_platform_id *platforms = crn__alloc(n, sizeof(cl_platform_id));
    if (platforms == NULL)
        return crn__fail_memory(error);
    device_list list = {0};
    code = clGetPlatformIDs(n, platforms, NULL);
    note(&list, code);
    for (cl_uint i = 0; code == CL_SUCCESS && i < n; i++)
        add_platform(&list, platforms[i]);
    free(platforms);
    if (list.count > 0 && list.code != CL_OUT_OF_HOST_MEMORY) {
        *devices = list.items;
        *count = list.count;
        return CRN_OK;
    }
    free(list.items);
    if (list.code == CL_SUCCESS)
        return fail_none(error);
    return crn__fail(error, crn__cl_status(list.code), "asking for OpenCL devices: %s (%d)",
                     crn__cl_name(list.code), list.code);
}

/* ---- choosing one ---- */

static bool contains(const char *text, const char *part)
{
    for (; *text != '\0'; text++) {
        size_t i = 0;
        while (part[i] != '\0' &&
               tolower((unsigned char)text[i]) == tolower((unsigned char)part[i]))
            i++;
        if (part[i] == '\0')
            return true;
    }
    return false;
}

static bool same_word(const char *a, const char *b)
{
    return strlen(a) == strlen(b) && contains(a, b);
}

static bool matches(const crn_device_info *info, const char *wanted)
{
    if (same_word(wanted, "cpu"))
        return info->type == CRN_DEVICE_CPU;
    if (same_word(wanted, "gpu"))
        return info->type == CRN_DEVICE_GPU;
    return contains(info->name, wanted) || contains(info->platform, wanted);
}

/* Strictly, so that the first of equals stays. */
static bool is_better(const crn__device *a, const crn__device *b)
{
    static const int rank[] = {[CRN_DEVICE_OTHER] = 0,
                               [CRN_DEVICE_CPU] = 1,
                               [CRN_DEVICE_ACCELERATOR] = 2,
                               [CRN_DEVICE_GPU] = 3};
    if (a->usable != b->usable)
        return a->usable;
    if (a->info.type != b->info.type)
        return rank[a->info.type] > rank[b->info.type];
    return a->info.compute_units > b->info.compute_units;
}

static crn_status fail_unknown(const crn__device *devices, size_t count, const char *wanted,
                               crn_error *error)
{
    char names[CRN_ERROR_TEXT] = "";
    size_t used = 0;
    for (size_t i = 0; i < count && used < sizeof names; i++) {
        int n = snprintf(names + used, sizeof names - used, "%s%zu \"%s\"", i > 0 ? ", " : "", i,
                         devices[i].info.name);
        used += n > 0 ? (size_t)n : 0;
    }
    return crn__fail(error, CRN_NOT_FOUND, "no device is \"%.80s\"; there are: %s", wanted, names);
}

/* Digits that are no index may still be in a name: "3090". */
static const crn__device *by_index(const crn__device *devices, size_t count, const char *wanted)
{
    unsigned long index = strtoul(wanted, NULL, 10);
    bool is_number = wanted[strspn(wanted, "0123456789")] == '\0';
    return is_number && index < count ? &devices[index] : NULL;
}

/* The best that matches; `wanted` NULL is matched by all. */
static const crn__device *by_words(const crn__device *devices, size_t count, const char *wanted)
{
    const crn__device *best = NULL;
    for (size_t i = 0; i < count; i++)
        if ((wanted == NULL || matches(&devices[i].info, wanted)) &&
            (best == NULL || is_better(&devices[i], best)))
            best = &devices[i];
    return best;
}

crn_status crn__devices_choose(const crn__device *devices, size_t count, const char *wanted,
                               const crn__device **chosen, crn_error *error)
{
    bool any = wanted == NULL || *wanted == '\0';
    const crn__device *best = any ? NULL : by_index(devices, count, wanted);
    if (best == NULL)
        best = by_words(devices, count, any ? NULL : wanted);
    if (best == NULL)
        return fail_unknown(devices, count, wanted, error);
    if (!best->usable)
        return crn__fail(error, any ? CRN_NO_DEVICE : CRN_UNSUPPORTED,
                         "device %d \"%s\" is not available, or its driver has no compiler",
                         best->info.index, best->info.name);
    *chosen = best;
    return CRN_OK;
}

crn_status crn_device_list(crn_device_info *infos, size_t capacity, size_t *count, crn_error *error)
{
    if (count == NULL || (infos == NULL && capacity > 0))
        return crn__fail(error, CRN_INVALID, "crn_device_list: infos or count is NULL");
    *count = 0;
    crn__device *devices;
    size_t found;
    CRN__TRY(crn__devices_find(&devices, &found, error));
    const crn__device *chosen = NULL;
    crn__devices_choose(devices, found, getenv("CLARINET_DEVICE"), &chosen, NULL);
    for (size_t i = 0; i < found && i < capacity; i++) {
        infos[i] = devices[i].info;
        infos[i].is_default = &devices[i] == chosen;
    }
    *count = found;
    free(devices);
    return CRN_OK;
}
