/* sandbox_gate.h - whether tests of the sandbox can mean anything on this machine. */
#ifndef SHOAL_TEST_SANDBOX_GATE_H
#define SHOAL_TEST_SANDBOX_GATE_H

/* Opens a host and runs one trivial program in a sandbox. Ends the process with 77, which counts as skipped, and one line
 * that says why when this machine cannot make a sandbox at all (a container without the rights, no bubblewrap). Whatever
 * else goes wrong is left to the tests to fail on. */
void sandbox_gate(void);

#endif
