// Package driver is what the drivers in Go share: `driver BOOTSTRAP SCENARIO [key=value ...]`, one deadline for
// everything, the records of a tag, and JSON lines.
package driver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const timeoutSecondsDefault = "60"

// Transaction is how many records a transaction has in the scenario of that name.
const Transaction = 10

// Run is one run of a scenario.
type Run struct {
	Bootstrap []string
	Scenario  string
	Options   map[string]string
	// Deadline ends with the time that the scenario has.
	Deadline context.Context
	// Stop ends with SIGTERM or with the deadline.
	Stop context.Context
}

// Main runs the scenario that the arguments name; whatever goes wrong becomes a sentence and exit code 1.
func Main(scenarios map[string]func(*Run) error) {
	if err := drive(os.Args[1:], scenarios); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func drive(arguments []string, scenarios map[string]func(*Run) error) error {
	if len(arguments) < 2 {
		return errors.New("usage: driver BOOTSTRAP SCENARIO [key=value ...]")
	}
	r := &Run{Bootstrap: strings.Split(arguments[0], ","), Scenario: arguments[1], Options: map[string]string{}}
	for _, argument := range arguments[2:] {
		key, value, _ := strings.Cut(argument, "=")
		r.Options[key] = value
	}
	scenario, known := scenarios[r.Scenario]
	if !known {
		return fmt.Errorf("this client has no scenario %s", r.Scenario)
	}
	seconds, err := strconv.ParseFloat(r.Get("timeout", timeoutSecondsDefault), 64)
	if err != nil {
		return fmt.Errorf("timeout: %w", err)
	}
	deadline, cancel := context.WithTimeout(context.Background(), time.Duration(seconds*float64(time.Second)))
	defer cancel()
	stop, forget := signal.NotifyContext(deadline, syscall.SIGTERM, os.Interrupt)
	defer forget()
	r.Deadline, r.Stop = deadline, stop
	return scenario(r)
}

// Get is an option's value.
func (r *Run) Get(name, otherwise string) string {
	if value, there := r.Options[name]; there {
		return value
	}
	return otherwise
}

// Need is the value of an option that the scenario can't do without.
func (r *Run) Need(name string) (string, error) {
	value, there := r.Options[name]
	if !there {
		return "", fmt.Errorf("scenario %s needs %s=", r.Scenario, name)
	}
	return value, nil
}

// Needs are the values of several such options.
func (r *Run) Needs(names ...string) ([]string, error) {
	values := make([]string, len(names))
	for i, name := range names {
		value, err := r.Need(name)
		if err != nil {
			return nil, err
		}
		values[i] = value
	}
	return values, nil
}

// Records are those that a scenario produces.
type Records struct {
	Topic, Tag string
	Count      int
	// Turn waits for the turn of record i, and is false once the run has to stop.
	Turn func(int) bool
}

// Records are the records wished for.
func (r *Run) Records() (*Records, error) {
	names, err := r.Needs("topic", "tag")
	if err != nil {
		return nil, err
	}
	count, err := r.count()
	if err != nil {
		return nil, err
	}
	turn, err := r.pace()
	return &Records{Topic: names[0], Tag: names[1], Count: count, Turn: turn}, err
}

// Subscription is what a scenario reads: so many records of a topic, as a member of a group.
type Subscription struct {
	Topic, Group string
	Count        int
}

// Subscription is the one wished for.
func (r *Run) Subscription() (*Subscription, error) {
	names, err := r.Needs("topic", "group")
	if err != nil {
		return nil, err
	}
	count, err := r.count()
	return &Subscription{Topic: names[0], Group: names[1], Count: count}, err
}

// Without a count the scenario goes on until SIGTERM.
func (r *Run) count() (int, error) {
	value, there := r.Options["count"]
	if !there {
		return math.MaxInt, nil
	}
	return strconv.Atoi(value)
}

// StopAsked tells SIGTERM from the deadline, which also ends the stop context.
func (r *Run) StopAsked() bool {
	return r.Stop.Err() != nil && r.Deadline.Err() == nil
}

// Ends is when the time is up.
func (r *Run) Ends() time.Time {
	ends, _ := r.Deadline.Deadline()
	return ends
}

// Remaining is the time that is left.
func (r *Run) Remaining() time.Duration {
	return max(time.Second, time.Until(r.Ends()))
}

// TLS is the configuration that believes the authority in cafile and shows the certificate in certfile, if one is
// given; nil where the client is to speak plaintext. Each client adds the server's name.
func (r *Run) TLS() (*tls.Config, error) {
	if !strings.HasSuffix(r.Get("security", "PLAINTEXT"), "SSL") {
		return nil, nil
	}
	file, err := r.Need("cafile")
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	config := &tls.Config{RootCAs: roots}
	if certificate, there := r.Options["certfile"]; there {
		key, err := r.Need("keyfile")
		if err != nil {
			return nil, err
		}
		pair, err := tls.LoadX509KeyPair(certificate, key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

// Login is what the client is to authenticate with.
type Login struct{ Mechanism, Username, Password string }

// Login is nil where the client is to come without a name.
func (r *Run) Login() (*Login, error) {
	if !strings.HasPrefix(r.Get("security", "PLAINTEXT"), "SASL_") {
		return nil, nil
	}
	values, err := r.Needs("username", "password")
	if err != nil {
		return nil, err
	}
	return &Login{r.Get("mechanism", "PLAIN"), values[0], values[1]}, nil
}

// Unsupported says that a driver does not know the mechanism.
func (l *Login) Unsupported() error {
	return fmt.Errorf("mechanism=%s is not supported here", l.Mechanism)
}

func (r *Run) pace() (func(int) bool, error) {
	value, there := r.Options["rate"]
	if !there {
		return func(int) bool { return r.Stop.Err() == nil }, nil
	}
	rate, err := strconv.ParseFloat(value, 64)
	if err != nil || rate <= 0 {
		return nil, fmt.Errorf("rate=%s is no number of records a second", value)
	}
	began := time.Now()
	return func(i int) bool {
		wait := time.Until(began.Add(time.Duration(float64(i) / rate * float64(time.Second))))
		select {
		case <-r.Stop.Done():
			return false
		case <-time.After(wait):
			return r.Stop.Err() == nil
		}
	}, nil
}
