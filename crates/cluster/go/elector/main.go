// A candidate for a Lease that is nothing but client-go's own elector, with the settings of the original: the peer in tests
// of mixed clusters. It prints each transition with the time of the monotonic clock, in nanoseconds.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

var saying sync.Mutex

func say(format string, arguments ...any) {
	saying.Lock()
	defer saying.Unlock()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(err)
	}
	fmt.Printf("%d %s\n", now.Nano(), fmt.Sprintf(format, arguments...))
}

func shell(command string) {
	if command == "" {
		return
	}
	if output, err := exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
		say("failed %q: %v: %s", command, err, output)
	}
}

func main() {
	kubeconfig := flag.String("kubeconfig", "", "file that says where the API server is")
	identity := flag.String("identity", "", "holderIdentity")
	namespace := flag.String("namespace", "kube-system", "namespace of the Lease")
	name := flag.String("lease", "plndr-cp-lock", "name of the Lease")
	duration := flag.Duration("duration", 15*time.Second, "lease duration")
	renew := flag.Duration("renew", 10*time.Second, "renew deadline")
	retry := flag.Duration("retry", 2*time.Second, "retry period")
	release := flag.Bool("release", true, "release the Lease when leaving, or when the renew deadline has passed")
	again := flag.Bool("again", false, "campaign again after a loss, as a kubelet that restarts the process does")
	up := flag.String("up", "", "shell command on becoming leader")
	down := flag.String("down", "", "shell command on being leader no more")
	flag.Parse()

	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		say("cannot read the kubeconfig: %v", err)
		os.Exit(1)
	}
	config.Timeout = 10 * time.Second
	config.UserAgent = "elector"
	client := kubernetes.NewForConfigOrDie(config)
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()

	for {
		elect(ctx, client, leaderelection.LeaderElectionConfig{
			Lock: &resourcelock.LeaseLock{
				LeaseMeta:  metav1.ObjectMeta{Name: *name, Namespace: *namespace},
				Client:     client.CoordinationV1(),
				LockConfig: resourcelock.ResourceLockConfig{Identity: *identity},
			},
			ReleaseOnCancel: *release,
			LeaseDuration:   *duration,
			RenewDeadline:   *renew,
			RetryPeriod:     *retry,
		}, *identity, *up, *down)
		if ctx.Err() != nil || !*again {
			return
		}
	}
}

// The address stays until the elector has returned, its try to release the Lease included: so does the original's.
func elect(ctx context.Context, client kubernetes.Interface, config leaderelection.LeaderElectionConfig, identity, up, down string) {
	var led atomic.Bool
	config.Callbacks = leaderelection.LeaderCallbacks{
		OnStartedLeading: func(context.Context) {
			led.Store(true)
			say("leading")
			shell(up)
		},
		OnStoppedLeading: func() {
			if led.Load() {
				shell(down)
				say("stopped")
			}
		},
		OnNewLeader: func(leader string) { say("leader %s", leader) },
	}
	elector, err := leaderelection.NewLeaderElector(config)
	if err != nil {
		say("refused: %v", err)
		os.Exit(1)
	}
	elector.Run(ctx)
}
