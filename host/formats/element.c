#include "formats/element.h"

#include <math.h>
#include <string.h>

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* 1 sign, 5 exponent, 10 fraction bits (IEEE 754 binary16). */
static float half(uint16_t bits)
{
    uint32_t sign = (uint32_t)(bits & 0x8000) << 16, fraction = bits & 0x3ff;
    uint32_t exponent = bits >> 10 & 31;
    if (exponent == 0)
        return copysignf(ldexpf((float)fraction, -24), from_bits(sign | 0x3f800000));
    if (exponent == 31)
        return from_bits(sign | 0x7f800000 | fraction << 13);
    return from_bits(sign | (exponent + 127 - 15) << 23 | fraction << 13);
}

/* Conversions of arrays; memcpy because the bytes of a file have no type. */
#define CONVERSION(name, type, expression)                             \
    static void name(const void *values, size_t count, float *floats)  \
    {                                                                  \
        for (size_t i = 0; i < count; i++) {                           \
            type x;                                                    \
            memcpy(&x, (const char *)values + i * sizeof x, sizeof x); \
            floats[i] = (expression);                                  \
        }                                                              \
    }

CONVERSION(from_f32, float, x)
CONVERSION(from_f64, double, (float)x)
CONVERSION(from_f16, uint16_t, half(x))
CONVERSION(from_bf16, uint16_t, from_bits((uint32_t)x << 16))
CONVERSION(from_i8, int8_t, (float)x)
CONVERSION(from_i16, int16_t, (float)x)
CONVERSION(from_i32, int32_t, (float)x)
CONVERSION(from_i64, int64_t, (float)x)
CONVERSION(from_u8, uint8_t, (float)x)
CONVERSION(from_u16, uint16_t, (float)x)
CONVERSION(from_u32, uint32_t, (float)x)
CONVERSION(from_u64, uint64_t, (float)x)
CONVERSION(from_bool, uint8_t, x != 0 ? 1.0f : 0.0f)

static const crn__element elements[] = {
    {"F32", 4, 1, true, from_f32},   {"F64", 8, 2, true, from_f64},
    {"I32", 4, 3, true, from_i32},   {"U8", 1, 4, true, from_u8},
    {"I16", 2, 5, true, from_i16},   {"I8", 1, 6, true, from_i8},
    {"STRING", 0, 7, false, NULL},   {"C64", 8, 8, true, NULL},
    {"I64", 8, 9, true, from_i64},   {"BOOL", 1, 10, true, from_bool},
    {"QINT8", 1, 11, false, NULL},   {"QUINT8", 1, 12, false, NULL},
    {"QINT32", 4, 13, false, NULL},  {"BF16", 2, 14, true, from_bf16},
    {"QINT16", 2, 15, false, NULL},  {"QUINT16", 2, 16, false, NULL},
    {"U16", 2, 17, true, from_u16},  {"C128", 16, 18, false, NULL},
    {"F16", 2, 19, true, from_f16},  {"RESOURCE", 0, 20, false, NULL},
    {"VARIANT", 0, 21, false, NULL}, {"U32", 4, 22, true, from_u32},
    {"U64", 8, 23, true, from_u64},  {"F8_E5M2", 1, 24, true, NULL},
    {"F8_E4M3", 1, 25, true, NULL},  {"F8_E8M0", 1, 0, true, NULL},
};

static const crn__element unknown = {"UNKNOWN", 0, 0, false, NULL};

#define N_ELEMENTS (sizeof elements / sizeof *elements)

const crn__element *crn__element_find(const char *name, size_t length)
{
    for (size_t i = 0; i < N_ELEMENTS; i++)
        if (strlen(elements[i].name) == length && memcmp(elements[i].name, name, length) == 0)
            return &elements[i];
    return length == strlen(unknown.name) && memcmp(name, unknown.name, length) == 0 ? &unknown
                                                                                     : NULL;
}

const crn__element *crn__element_of_tensorflow(uint64_t type)
{
    for (size_t i = 0; i < N_ELEMENTS; i++)
        if (type != 0 && elements[i].tensorflow == type)
            return &elements[i];
    return &unknown;
}
