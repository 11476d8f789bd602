package workload

import "golang.org/x/sys/unix"

// Now is the boot-time clock (CLOCK_BOOTTIME) in ns: the same on the host and in every container, and it counts suspends.
func Now() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic("read CLOCK_BOOTTIME: " + err.Error()) // Linux has it since 2.6.39
	}
	return t.Nano()
}
