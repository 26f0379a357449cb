/* version.h - the version of this build, as users see it. */
#ifndef SHOAL_BASE_VERSION_H
#define SHOAL_BASE_VERSION_H

#define SHOAL_VERSION "0.1.0"

#endif
