// Group readers on sarama and kafka-go: they print the offset of each message that they are given, and a checksum of what
// it holds, until their input ends. And a producer on sarama, which prints the partition of each of its messages.
package main

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"time"

	"github.com/IBM/sarama"
	"github.com/segmentio/kafka-go"
)

func main() {
	library, bootstrap, topic, group := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	var err error
	switch library {
	case "sarama":
		err = readBySarama(ctx, bootstrap, topic, group)
	case "sarama-producer":
		// The last argument is no group, but the partitioner.
		err = produceBySarama(bootstrap, topic, group)
	case "kafka-go":
		err = readByKafkaGo(ctx, bootstrap, topic, group)
	}
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const longestWait = 300 * time.Millisecond

func readByKafkaGo(ctx context.Context, bootstrap, topic, group string) error {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers:     []string{bootstrap},
		GroupID:     group,
		Topic:       topic,
		StartOffset: kafka.FirstOffset,
		MaxWait:     longestWait,
		// By default it waits for a commit after each message.
		CommitInterval: longestWait,
	})
	defer reader.Close()
	for {
		message, err := reader.ReadMessage(ctx)
		if err != nil {
			return err
		}
		parts := [][]byte{message.Key, message.Value}
		for _, header := range message.Headers {
			parts = append(parts, []byte(header.Key), header.Value)
		}
		tell(message.Offset, parts)
	}
}

// tell prints what has been read.
func tell(offset int64, parts [][]byte) {
	fmt.Printf("%d %08x\n", offset, crc32.ChecksumIEEE(bytes.Join(parts, nil)))
}

func readBySarama(ctx context.Context, bootstrap, topic, group string) error {
	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.MaxWaitTime = longestWait
	consumer, err := sarama.NewConsumerGroup([]string{bootstrap}, group, config)
	if err != nil {
		return err
	}
	defer consumer.Close()
	for ctx.Err() == nil {
		if err := consumer.Consume(ctx, []string{topic}, printer{}); err != nil {
			return err
		}
	}
	return nil
}

func produceBySarama(bootstrap, topic, partitioner string) error {
	config := sarama.NewConfig()
	config.Version = sarama.V2_8_0_0
	config.Producer.Return.Successes = true
	if partitioner == "crc32" {
		config.Producer.Partitioner = sarama.NewCustomHashPartitioner(crc32.NewIEEE)
	}
	producer, err := sarama.NewSyncProducer([]string{bootstrap}, config)
	if err != nil {
		return err
	}
	defer producer.Close()
	for number := 0; number < 60; number++ {
		key := sarama.StringEncoder(fmt.Sprintf("key %d", number))
		message := &sarama.ProducerMessage{Topic: topic, Key: key, Value: sarama.StringEncoder("value")}
		partition, _, err := producer.SendMessage(message)
		if err != nil {
			return err
		}
		fmt.Println(partition)
	}
	return nil
}

type printer struct{}

func (printer) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (printer) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (printer) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			parts := [][]byte{message.Key, message.Value}
			for _, header := range message.Headers {
				parts = append(parts, header.Key, header.Value)
			}
			tell(message.Offset, parts)
			session.MarkMessage(message, "")
		case <-session.Context().Done():
			return nil
		}
	}
}
