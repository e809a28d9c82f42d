// Which sanitizer this is compiled with: gcc and clang tell it in different ways.
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define VEZA_ADDRESS_SANITIZER
#endif
#if defined(__SANITIZE_THREAD__)
#define VEZA_THREAD_SANITIZER
#endif

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define VEZA_ADDRESS_SANITIZER
#endif
#if __has_feature(thread_sanitizer)
#define VEZA_THREAD_SANITIZER
#endif
#endif
