package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// serve listens on ports. To each line it answers with the peer's address, except to "echo", after which it sends back what
// comes, and "open", to which it answers how many connections it has. SIGUSR1 makes it stop listening.
func serve(ctx context.Context, ports []string) error {
	deaf := make(chan os.Signal, 1)
	signal.Notify(deaf, syscall.SIGUSR1)
	var open atomic.Int64
	var all []net.Listener
	var work sync.WaitGroup
	for _, port := range ports {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", ":"+port)
		if err != nil {
			return err
		}
		all = append(all, l)
		work.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					open.Add(1)
					defer open.Add(-1)
					answer(c, &open)
				}()
			}
		})
	}
	fmt.Println("listening")
	select {
	case <-deaf:
	case <-ctx.Done():
		return nil
	}
	for _, l := range all {
		_ = l.Close()
	}
	work.Wait()
	fmt.Println("deaf")
	<-ctx.Done()
	return nil
}

func answer(c net.Conn, open *atomic.Int64) {
	defer c.Close()
	for lines := bufio.NewReader(c); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		switch line {
		case "echo\n":
			_, _ = io.Copy(c, lines)
			return
		case "open\n":
			_, err = fmt.Fprintln(c, open.Load())
		default:
			_, err = fmt.Fprintln(c, c.RemoteAddr())
		}
		if err != nil {
			return
		}
	}
}

// loop connects every 20 ms from its first instruction on, and writes a line for each connection: "up", or what became of it.
func loop(ctx context.Context, to string) error {
	for ctx.Err() == nil {
		c, err := net.DialTimeout("tcp", to, time.Second)
		if err == nil {
			fmt.Println("up")
			_ = c.Close()
		} else {
			fmt.Println("down", name(err))
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return nil
}

// name is what an error is called: the errno, "timeout" or "EOF".
func name(err error) string {
	var timeout net.Error
	var errno syscall.Errno
	switch {
	case err == nil:
		return ""
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, io.EOF):
		return "EOF"
	}
	return err.Error()
}
