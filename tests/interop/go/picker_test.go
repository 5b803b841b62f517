package main

import (
	"errors"
	"testing"

	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"
	"google.golang.org/grpc/resolver"

	"varve.example/interop/logv1"
)

type subConn struct {
	balancer.SubConn
	name string
}

func pickerOf(leader *subConn, followers ...*subConn) balancer.Picker {
	info := base.PickerBuildInfo{ReadySCs: map[balancer.SubConn]base.SubConnInfo{}}
	add := func(conn *subConn, leads bool) {
		address := resolver.Address{Addr: conn.name, Attributes: attributes.New(leaderKey{}, leads)}
		info.ReadySCs[conn] = base.SubConnInfo{Address: address}
	}
	if leader != nil {
		add(leader, true)
	}
	for _, follower := range followers {
		add(follower, false)
	}
	return pickerBuilder{}.Build(info)
}

func picks(t *testing.T, picker balancer.Picker, method string, times int) map[string]int {
	t.Helper()
	picked := map[string]int{}
	for range times {
		result, err := picker.Pick(balancer.PickInfo{FullMethodName: method})
		if err != nil {
			t.Fatal(err)
		}
		picked[result.SubConn.(*subConn).name]++
	}
	return picked
}

func TestAppendsGoToTheLeaderAndReadsToFollowers(t *testing.T) {
	picker := pickerOf(&subConn{name: "a"}, &subConn{name: "b"}, &subConn{name: "c"})
	for _, method := range []string{logv1.Log_Produce_FullMethodName, logv1.Log_ProduceStream_FullMethodName} {
		if picked := picks(t, picker, method, 4); picked["a"] != 4 {
			t.Errorf("%s: %v", method, picked)
		}
	}
	for _, method := range []string{logv1.Log_Consume_FullMethodName, logv1.Log_ConsumeStream_FullMethodName} {
		if picked := picks(t, picker, method, 4); picked["b"] != 2 || picked["c"] != 2 {
			t.Errorf("%s: %v", method, picked)
		}
	}
}

func TestALoneLeaderIsRead(t *testing.T) {
	picked := picks(t, pickerOf(&subConn{name: "a"}), logv1.Log_Consume_FullMethodName, 2)
	if picked["a"] != 2 {
		t.Error(picked)
	}
}

func TestAppendsWaitForALeader(t *testing.T) {
	_, err := pickerOf(nil, &subConn{name: "b"}).Pick(balancer.PickInfo{FullMethodName: logv1.Log_Produce_FullMethodName})
	if !errors.Is(err, balancer.ErrNoSubConnAvailable) {
		t.Error(err)
	}
}
