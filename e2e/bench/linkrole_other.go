//go:build !linux

package main

import (
	"context"
	"errors"
)

type role struct{}

func roleOf(context.Context, []string) (bool, error) { return false, nil }

func startRole(context.Context, string, bool) (*role, error) { return nil, errors.ErrUnsupported }

func (*role) ask(order) (answer, error) { return answer{}, errors.ErrUnsupported }
func (*role) stop() error               { return nil }
